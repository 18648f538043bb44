-- Version 5. What becomes of devices that a rule fits: admit, refuse, quarantine.

ALTER TABLE rules ADD COLUMN outcome TEXT NOT NULL DEFAULT 'admit';
