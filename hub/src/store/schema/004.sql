-- Version 4. Where a device that waits and showed no join token called from: its address, or the network that counts as one. Empty of all others.

ALTER TABLE devices ADD COLUMN neighbour TEXT;
CREATE INDEX devices_by_neighbour ON devices (neighbour);
