ALTER TABLE undoubt.step DROP CONSTRAINT IF EXISTS step_state_check,
    ADD CONSTRAINT step_state_check CHECK (state IN ('acted', 'compensated', 'completed', 'empty'));
UPDATE undoubt.identity SET version = 3;
