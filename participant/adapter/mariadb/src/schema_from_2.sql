SET lock_wait_timeout = 10;

ALTER TABLE undoubt_step MODIFY COLUMN state ENUM('acted', 'compensated', 'empty', 'completed') NOT NULL;
UPDATE undoubt_identity SET version = 3;
