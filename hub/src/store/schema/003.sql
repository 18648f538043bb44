-- Version 3. The hardware that a device was admitted with; of those that are admitted already, what they said last.

ALTER TABLE devices ADD COLUMN pinned TEXT;
UPDATE devices SET pinned = '{"serials":' || serials || ',"macs":' || macs || '}' WHERE state IN ('admitted', 'quarantined');
