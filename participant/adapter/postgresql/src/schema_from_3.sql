UPDATE undoubt.identity SET version = 4;
