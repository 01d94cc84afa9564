CREATE TABLE IF NOT EXISTS undoubt_identity (
    one TINYINT NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    version INT NOT NULL,
    id BINARY(8) NOT NULL,
    participant VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    server VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    log BINARY(16) NOT NULL,
    put_back TEXT CHARACTER SET utf8mb4
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS undoubt_run (
    number BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    started_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    host VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
    pid BIGINT UNSIGNED NOT NULL,
    sessions INT UNSIGNED NOT NULL,
    losses INT UNSIGNED NOT NULL,
    mark BIGINT UNSIGNED NOT NULL,
    collected BIGINT UNSIGNED NOT NULL DEFAULT 0
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS undoubt_coordinator (
    id BINARY(16) NOT NULL PRIMARY KEY,
    epoch BIGINT UNSIGNED NOT NULL DEFAULT 0,
    low_water_mark BIGINT UNSIGNED NOT NULL DEFAULT 0,
    pin BINARY(32),
    pin_vouched BOOLEAN,
    pin_epoch BIGINT UNSIGNED
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS undoubt_finished (
    coordinator BINARY(16) NOT NULL,
    attempt BIGINT UNSIGNED NOT NULL,
    tx VARBINARY(64) NOT NULL,
    begun_at BIGINT UNSIGNED NOT NULL,
    run BIGINT UNSIGNED NOT NULL,
    result LONGBLOB NOT NULL,
    PRIMARY KEY (coordinator, attempt, tx)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS undoubt_step (
    coordinator BINARY(16) NOT NULL,
    attempt BIGINT UNSIGNED NOT NULL,
    step SMALLINT UNSIGNED NOT NULL,
    tx VARBINARY(64) NOT NULL,
    state ENUM('acted', 'compensated', 'empty', 'completed') NOT NULL,
    run BIGINT UNSIGNED NOT NULL,
    undone_run BIGINT UNSIGNED,
    result LONGBLOB NOT NULL,
    released_at BIGINT UNSIGNED,
    released_by TEXT CHARACTER SET utf8mb4,
    released_why TEXT CHARACTER SET utf8mb4,
    PRIMARY KEY (coordinator, attempt, step, tx)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS undoubt_pending (
    marked VARBINARY(1024) NOT NULL,
    coordinator BINARY(16) NOT NULL,
    attempt BIGINT UNSIGNED NOT NULL,
    step SMALLINT UNSIGNED NOT NULL,
    tx VARBINARY(64) NOT NULL,
    begun_at BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (marked, coordinator, attempt, step, tx),
    KEY owner (coordinator, attempt, step, tx)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS undoubt_heuristic (
    coordinator BINARY(16) NOT NULL,
    attempt BIGINT UNSIGNED NOT NULL,
    tx VARBINARY(64) NOT NULL,
    begun_at BIGINT UNSIGNED NOT NULL,
    committed BOOLEAN NOT NULL,
    decided_at BIGINT UNSIGNED NOT NULL,
    who TEXT CHARACTER SET utf8mb4 NOT NULL,
    reason TEXT CHARACTER SET utf8mb4 NOT NULL,
    decision BOOLEAN,
    PRIMARY KEY (coordinator, attempt, tx)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS undoubt_outcome (
    name VARBINARY(1024) NOT NULL PRIMARY KEY,
    value LONGBLOB NOT NULL
) ENGINE = InnoDB;
