UPDATE undoubt.identity SET version = 5;
