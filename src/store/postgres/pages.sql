-- How many pages the clean-up has to look at.
SELECT
    pg_relation_size($1::text::regclass) / current_setting('block_size')::bigint AS sessions,
    pg_relation_size($2::text::regclass) / current_setting('block_size')::bigint AS subjects,
    -- Null where the tables are still those of version 1.
    pg_relation_size(to_regclass($3::text)) / current_setting('block_size')::bigint AS revocations
