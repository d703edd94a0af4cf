# The other subcommands of kpq, and the command line of kpd.

NAME import says what it did
RUN kpq import $HERE/spans.jsonl --data $TMP/s
EXPECT imported 2 spans in
EXPECT 0 rejected

NAME import of a file that is not there
RUN kpq import $TMP/none --data $TMP/s
EXIT 1
EXPECT kpq:
EXPECT none

NAME import of a file that is no OTLP
RUN echo hello > $TMP/f; kpq import $TMP/f --data $TMP/s; test $? -ne 0
EXPECT kpq:

NAME import without a place
RUN kpq import x
EXIT 2
EXPECT --data DIR is missing

NAME verify of a whole store
RUN kpq verify $DATA
EXPECT 0 damaged places

NAME verify of nothing
RUN kpq verify $TMP/none
EXIT 4
EXPECT cannot open data directory

NAME inspect of a file that is not there
RUN kpq inspect $TMP/none; test $? -ne 0
EXPECT kpq:

NAME inspect describes every file of a store
RUN for f in $(find $DATA -type f ! -name lock); do kpq inspect $f >/dev/null || echo "failed $f"; done
REJECT failed

NAME record without a place
RUN kpq record
EXIT 2
EXPECT --data DIR is missing

NAME record with an unknown kind
RUN kpq record --data $TMP/s --kinds sched,nix
EXIT 2
EXPECT nix

NAME record of a command that is not there
RUN kpq record --data $TMP/s -- 
EXIT 2
EXPECT no command after --

NAME record without the right to
RUN if [ $(id -u) = 0 ]; then chmod 777 $TMP; set -- setpriv --reuid 65534 --clear-groups --inh-caps=-all; fi; "$@" kpq record --data $TMP/s --for 1s 2>$TMP/why; code=$?; cat $TMP/why; if grep -q 'built without capture' $TMP/why && [ $code = 7 ]; then code=4; fi; exit $code
EXIT 4
EXPECT kpq:
EXPECT hint:

NAME help of each subcommand
RUN for c in record import verify inspect; do kpq $c --help || exit 1; done
EXPECT usage: kpq record
EXPECT usage: kpq import
EXPECT usage: kpq verify
EXPECT usage: kpq inspect

NAME kpd without a place
RUN kpd
EXIT 2
EXPECT kpd: where is the data? --data DIR is missing

NAME kpd refuses a wide address
RUN kpd --data $TMP/s --listen 0.0.0.0:0
EXIT 2
EXPECT not a loopback address
EXPECT hint:

NAME kpd checks its configuration
RUN printf 'data = %s\ntxn-keys = a,b\n' $TMP/s > $TMP/c; kpd --config $TMP/c --check-config
EXPECT the configuration is good

NAME kpd names the wrong line
RUN printf '# talk\ndata = x\nlistne = y\n' > $TMP/c; kpd --config $TMP/c --check-config
EXIT 2
EXPECT /c:3: unknown key 'listne'
EXPECT hint: did you mean listen?

NAME kpd prints what is in force, and reads it back
RUN export KPD_TXN_KEYS=a.b; kpd --data $TMP/s --print-config > $TMP/c; unset KPD_TXN_KEYS; kpd --config $TMP/c --print-config | diff - $TMP/c && cat $TMP/c
EXPECT txn-keys = a.b
EXPECT listen = 127.0.0.1:7433

NAME kpd refuses wrong values
RUN kpd --data $TMP/s --capture=maybe; a=$?; kpd --data $TMP/s --kinds nix; b=$?; kpd --data $TMP/s --txn-keys ,; echo $a $b $?
EXPECT capture is on, off or auto, not 'maybe'
EXPECT nix
EXPECT 2 2 2

NAME bench-disk prints what suits the disk
RUN kpq bench-disk $TMP
EXPECT threads
EXPECT sync p99
EXPECT this disk suits --commit-after

NAME bench-disk of a place that is not there
RUN kpq bench-disk $TMP/nowhere
EXIT 1
EXPECT cannot measure the disk

NAME a commit interval that makes no sense
RUN kpd --data $TMP/s --commit-after 1h --check-config
EXIT 2
EXPECT --commit-after is 1ms to 10s
