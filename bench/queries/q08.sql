-- cells .. loop
-- scan
SELECT ts, CAST(tid AS BIGINT) FROM $events WHERE kind = 2 AND arg0 = $tid AND ts < $before ORDER BY ts DESC LIMIT 1
-- bound
SELECT ts, CAST(tid AS BIGINT) FROM $events WHERE kind = 2 AND arg0 = $tid AND ts < $before AND ts >= $since ORDER BY ts DESC LIMIT 1
-- side
SELECT ts, CAST(tid AS BIGINT) FROM $wakes WHERE arg0 = $tid AND ts < $before ORDER BY ts DESC LIMIT 1
