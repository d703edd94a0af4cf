# kpq DIR: formats, exit codes and every message for bad input.

NAME a table
RUN kpq $DATA -c 'spans | sort by start asc | project service, name, dur'
EXPECT service
EXPECT payment-handler  POST /pay  802.000 ms
EXPECT ledger           append      52.000 ms

NAME CSV has exact numbers
RUN kpq $DATA -c 'spans | where service == "ledger" | project start, dur, txn' --format csv | tr -d '\r'
EXPECT start,dur,txn
EXPECT 2026-11-23T03:47:00.100000001Z,52000000,98721

NAME JSON is one document
RUN kpq $DATA -c 'spans | count' -F json | python3 -c 'import json,sys; d = json.load(sys.stdin); print("rows", d["rows"], "of", len(d["columns"]))'
EXPECT rows [[2]] of 1

NAME NDJSON is a document a line
RUN kpq $DATA -c 'spans | sort by start asc | project name, dur' --format ndjson | python3 -c 'import json,sys; print([json.loads(l)["dur"] for l in sys.stdin])'
EXPECT [802000000, 52000000]

NAME line protocol
RUN kpq $DATA -c 'spans | where service == "ledger" | project ts, service, dur, name' --format line
EXPECT spans,service=ledger dur_ns=52000000i,name="append" 1795405620152000001

NAME a timeline
RUN kpq $DATA -c 'spans | sort by start asc' --format timeline
EXPECT axis: 802.000 ms from 2026-11-23T03:47:00.000000000Z
EXPECT +100,000,001 ns    52.000 ms

NAME causes as a tree
RUN kpq $DATA -c 'CAUSES OF txn 98721' --format graph
EXPECT 100.00 %  all of it

NAME render at the end of a statement goes before --format
RUN kpq $DATA -c 'CAUSES OF txn 98721 | render graph; spans | count' --format csv
EXPECT 100.00 %  all of it
EXPECT Count

NAME render knows the formats
RUN kpq $DATA -c 'spans | render grap'
EXIT 3
EXPECT kpq: unknown format 'grap'
EXPECT did you mean graph?

NAME frames for Grafana
RUN kpq $DATA -c 'CAUSES OF txn 98721 | EMIT flame' --format csv
EXPECT level,value,label,self
EXPECT 0,802000000,all of it,0

NAME an event that is not there
RUN kpq $DATA -c 'CAUSES OF event web1/0/77'
EXIT 1
EXPECT kpq: no such event web1/0/77

NAME a root that the verb has not
RUN kpq $DATA -c 'EFFECTS OF txn 5'
EXIT 3
EXPECT EFFECTS has no root 'txn'

NAME causes for Graphviz
RUN kpq $DATA -c 'BLOCKERS OF txn 98721' --format dot
EXPECT digraph causes {

NAME spans as a picture
RUN kpq $DATA -c 'spans' --format svg
EXPECT </svg>

NAME a graph needs kinds and culprits
RUN kpq $DATA -c 'spans' --format graph
EXIT 3
EXPECT kpq: format graph needs the columns kind, culprit_comm and dur

NAME a timeline needs an interval
RUN kpq $DATA -c 'spans | project name' --format timeline
EXIT 3
EXPECT kpq: format timeline needs the columns start and dur

NAME statements from stdin, in order, up to the first failure
RUN printf 'spans | count;\nspans | where nix == 1;\nspans | count' | kpq $DATA --format csv
EXIT 3
EXPECT 2
EXPECT (line 2, column 15)
EXPECT spans | where nix == 1

NAME statements from a file
RUN printf 'spans | count // talk; more talk\n' > $TMP/q; kpq $DATA -f $TMP/q --format csv
EXPECT 2

NAME no such file of statements
RUN kpq $DATA -f $TMP/none
EXIT 2
EXPECT kpq: cannot read '

NAME nothing to run
RUN echo '// only talk' | kpq $DATA
EXIT 3
EXPECT there is no statement to run

NAME unknown transaction
RUN kpq $DATA -c 'CAUSES OF txn 11111 WITHIN 2s'
EXIT 1
EXPECT kpq: 
EXPECT 11111

NAME unknown table with a suggestion
RUN kpq $DATA -c 'sched_swich | take 1'
EXIT 3
EXPECT sched_swich | take 1
EXPECT ^~~~
EXPECT sched_switch

NAME unknown column with a suggestion
RUN kpq $DATA -c 'spans | where servce == "x"'
EXIT 3
EXPECT servce
EXPECT ^~~~
EXPECT service

NAME unfinished statement
RUN kpq $DATA -c 'spans | where'
EXIT 3
EXPECT kpq:

NAME unclosed string
RUN kpq $DATA -c 'spans | where name == "x'
EXIT 3
EXPECT kpq:

NAME types that do not go together
RUN kpq $DATA -c 'spans | where name > 5'
EXIT 3
EXPECT kpq:
EXPECT ^

NAME no such directory
RUN kpq $TMP/none -c 'spans'
EXIT 4
EXPECT kpq: cannot open data directory
EXPECT hint:

NAME a directory that is no store
RUN mkdir $TMP/d; touch $TMP/d/file; kpq $TMP/d -c 'spans | count'; test $? -ne 0
EXPECT kpq:

NAME a file is no directory
RUN touch $TMP/f; kpq $TMP/f -c 'spans'
EXIT 2
EXPECT is a file, not a data directory
EXPECT kpq inspect

NAME an empty store answers with no rows
RUN kpq $EMPTY -c 'sched_switch'
EXPECT (no rows)
EXPECT holds no rows yet

NAME a transaction in an empty store
RUN kpq $EMPTY -c 'CAUSES OF txn 1'
EXIT 1
EXPECT kpq:

NAME a closed pipe is no error
RUN set -o pipefail; kpq $DATA -c 'spans | project name' --format csv | true; echo "exit ${PIPESTATUS[0]}"
EXPECT exit 0

NAME a full disk under the answer is one
RUN kpq $DATA -c 'spans' > /dev/full
EXIT 5
EXPECT kpq: cannot write the answer: No space left on device

NAME an unknown flag
RUN kpq $DATA --formta csv
EXIT 2
EXPECT kpq: unknown flag --formta
EXPECT hint: did you mean --format?

NAME an unknown format
RUN kpq $DATA -c spans --format xml
EXIT 2
EXPECT unknown format 'xml'
EXPECT formats are table, vertical, json

NAME a mistyped format
RUN kpq $DATA -c spans --format ndjosn
EXIT 2
EXPECT did you mean ndjson?

NAME a wrong duration
RUN kpq $DATA -c spans --timeout soon
EXIT 2
EXPECT 'soon' is not a duration

NAME a wrong size
RUN kpq $DATA -c spans --memory much
EXIT 2
EXPECT 'much' is not a size

NAME a wrong number of threads
RUN kpq $DATA -c spans --threads 0
EXIT 2
EXPECT --threads is a number from 1 to 64, not '0'

NAME threads do not show
RUN kpq $DATA -F csv -c 'events | summarize n = count() by kind | top 1 by n | project x = "one"' --threads 3
EXPECT x

NAME a let and the query that uses it
RUN kpq $DATA -F csv -c 'let b = 40; print x = b + 2; print y = 1'
EXPECT 42

NAME two targets
RUN kpq $DATA $DATA --format csv
EXIT 2
EXPECT one data directory or URL at a time

NAME a target from the environment
RUN KPQ_URL=$DATA KPQ_FORMAT=csv kpq -c 'print x = 1'
EXPECT x

NAME raw durations
RUN kpq $DATA -c 'print d = 5ms' --raw
EXPECT 5000000

NAME times of a zone
RUN kpq $DATA -c 'print t = datetime(2026-11-23T03:47:00.000000001Z)' --tz Asia/Kolkata
EXPECT 2026-11-23T09:17:00.000000001+05:30

NAME machine formats stay in UTC
RUN kpq $DATA -c 'print t = datetime(2026-11-23T03:47:00Z)' --tz Asia/Kolkata --format csv
EXPECT 2026-11-23T03:47:00.000000000Z

NAME a zone that is none
RUN kpq $DATA -c 'print 1' --tz Mars/Olympus
EXIT 2
EXPECT there is no time zone 'Mars/Olympus' here

NAME nothing at all, and no kpd here, says how to begin
RUN kpq
EXIT 4
EXPECT sudo kpq record

NAME help fits a screen and starts with examples
RUN kpq --help | head -5; test "$(kpq --help | wc -l)" -lt 40
EXPECT sudo kpq record --data

NAME version
RUN kpq --version; kpd --version
EXPECT kpq 
EXPECT kpd 

NAME no colour outside a terminal
RUN kpq $DATA -c 'spans'; kpq $DATA -c 'nix'; echo end | cat -v
REJECT [
EXPECT end

NAME no server there
RUN kpq http://127.0.0.1:1 -c 'spans'
EXIT 4
EXPECT kpq: cannot ask http://127.0.0.1:1
EXPECT is kpd running there?

NAME damaged data: the answer is printed, the damage is named, exit 5
RUN cp -r $DATA $TMP/d; python3 $HERE/flip.py $TMP/d payment-handler; kpq $TMP/d -c 'spans | count' --format csv
EXIT 5
EXPECT 0
EXPECT 1 damaged place was skipped
EXPECT hint: kpq verify
REJECT holds no rows yet

NAME verify finds it
RUN cp -r $DATA $TMP/d; python3 $HERE/flip.py $TMP/d payment-handler; kpq verify $TMP/d
EXIT 5
EXPECT damaged: wal/
EXPECT 1 damaged places

NAME a manifest that was cut off
RUN cp -r $DATA $TMP/d; truncate -s 100 $TMP/d/manifest.*; kpq $TMP/d -c 'spans | count'; test $? -eq 5
EXPECT kpq:

NAME the examples of docs/start.md
RUN sed -n 's/^    kpq> //p' $KP_ROOT/docs/start.md > $TMP/q; test $(wc -l < $TMP/q) -ge 5 || exit 9; while read -r q; do kpq $DATA -c "$q" > $TMP/out 2>&1 || { echo "failed: $q"; cat $TMP/out; exit 8; }; done < $TMP/q
EXIT 0

NAME a query that may not take long
RUN kpq $DATA -c 'spans' --timeout 1ns
EXIT 6
EXPECT kpq:

NAME a query that may not take memory
RUN kpq $DATA -c 'spans | sort by start' --memory 1K
EXIT 6
EXPECT kpq:
