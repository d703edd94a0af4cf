-- cells .k.
-- scan
SELECT ts - ts % 100000000 AS bin, CAST(kind AS BIGINT), count(*) FROM $events GROUP BY bin, kind
