-- How many pages the clean-up has to look at.
SELECT
    pg_relation_size($1::text::regclass) / current_setting('block_size')::bigint AS sessions,
    pg_relation_size($2::text::regclass) / current_setting('block_size')::bigint AS subjects,
    pg_relation_size($3::text::regclass) / current_setting('block_size')::bigint AS revocations
