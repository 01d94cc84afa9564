SET lock_wait_timeout = 10;

UPDATE undoubt_identity SET version = 5;
