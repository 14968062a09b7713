-- The tables of cloakroom's sessions on MySQL (8.0 or newer) and MariaDB (10.6 or newer), version 1.
-- MySqlStore::migrate() runs this file. Whoever runs it by hand may replace the prefix cloakroom_ throughout.

CREATE TABLE IF NOT EXISTS `cloakroom_schema` (
    version INT UNSIGNED NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS `cloakroom_record` (
    selector         BINARY(16)       NOT NULL PRIMARY KEY,
    revision         BIGINT UNSIGNED  NOT NULL,
    epoch            INT UNSIGNED     NOT NULL,
    created          BIGINT           NOT NULL,
    last_seen        BIGINT           NOT NULL,
    idle_until       BIGINT           NOT NULL,
    absolute_until   BIGINT           NOT NULL,
    expires          BIGINT           GENERATED ALWAYS AS (LEAST(idle_until, absolute_until)) STORED,
    secret           BINARY(32)       NOT NULL,
    wrapped_key      BINARY(32)       NOT NULL,
    previous_secret  BINARY(32),
    previous_key     BINARY(32),
    previous_state   TINYINT UNSIGNED,
    previous_since   BIGINT,
    owner            BINARY(32),
    owner_schema     VARBINARY(64),
    authenticated_at BIGINT,
    persistent       TINYINT UNSIGNED NOT NULL,
    label            VARBINARY(200),
    extensions       VARBINARY(1024),
    KEY by_expires (expires),
    KEY by_owner (owner)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS `cloakroom_cell` (
    selector BINARY(16)      NOT NULL,
    name     VARBINARY(255)  NOT NULL,
    stamp    BIGINT UNSIGNED NOT NULL,
    body     MEDIUMBLOB      NOT NULL,
    PRIMARY KEY (selector, name)
) ENGINE = InnoDB;

INSERT IGNORE INTO `cloakroom_schema` (version) VALUES (1);
