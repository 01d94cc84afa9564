CREATE TABLE IF NOT EXISTS undoubt_still_open (
    coordinator BINARY(16) NOT NULL,
    attempt BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (coordinator, attempt)
) ENGINE = InnoDB;
