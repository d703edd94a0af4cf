-- cells k.
-- scan
SELECT CAST(kind AS BIGINT), count(*) FROM $events GROUP BY kind
