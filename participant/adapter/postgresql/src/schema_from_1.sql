ALTER TABLE undoubt.finished ADD COLUMN start bigint NOT NULL DEFAULT 0, ADD COLUMN write bigint NOT NULL DEFAULT 0;
ALTER TABLE undoubt.step ADD COLUMN start bigint NOT NULL DEFAULT 0, ADD COLUMN write bigint NOT NULL DEFAULT 0;
UPDATE undoubt.identity SET version = 2;
