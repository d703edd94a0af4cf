# kprobe: everything is built under build/. `make help` lists the targets.
#
# Settings you may change:
CC        ?= gcc
CLANG     ?= clang
BPFTOOL   ?= bpftool
SAN       ?=#           address | undefined | thread: build with that sanitizer
BPF       ?= 1#         0: build without capture
V         ?= 0#         1: show commands
PREFIX    ?= /usr/local
DESTDIR   ?=
N         ?= 20#        repetitions of demo-accuracy, faults of each class in truth, worlds of truth-sim
TRUTH     ?=#           more arguments of truth: names of classes, --keep DIR
FUZZ_SECONDS ?= 60#     per target of `make fuzz`
VECTORS   ?= 1000000000# columns that soak-codec decodes
SEED      ?= 1#         first seed of the soaks of storage
BENCH_EVENTS ?= 20000000# that bench-store and bench-query record, once
BENCH_FIND ?= 10000000 100000000# stored events among which bench-store looks, one size or more
# Nothing below needs a change.

ifeq ($(origin CC),default)
CC := gcc
endif
comma := ,
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' '$(1)' '$(2)';)

OUT  := build$(if $(strip $(SAN)),/$(strip $(SAN)),/release)
GEN  := build/gen
BIN  := $(OUT)/bin
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
	-Wwrite-strings -Wvla -Wformat=2 -Wundef -Wimplicit-fallthrough $(if $(CI),-Werror)
CPPFLAGS += -D_GNU_SOURCE -I. -Isrc -I$(GEN) $(if $(filter 0,$(BPF)),-DKP_NO_BPF)
CFLAGS   ?= -O2 -g
CFLAGS   += -std=c11 -fno-strict-aliasing -fno-common -fstack-protector-strong $(WARN) \
	$(if $(strip $(SAN)),-fsanitize=$(strip $(SAN)) -fno-omit-frame-pointer -DKP_ASSERT_SLOW)
LDLIBS   := -luring -lzstd -lmicrohttpd -ljansson -ledit -lcurl -lz -lpcre2-8 -lcrypto -lpthread -lm \
	$(if $(filter 0,$(BPF)),,-lbpf -lelf)

LIB_SRC  := $(sort $(wildcard src/*/*.c))
LIB_OBJ  := $(LIB_SRC:%.c=$(OUT)/%.o) $(if $(wildcard grammar/*),$(OUT)/gen/lex.o $(OUT)/gen/query.o)
LIB      := $(OUT)/libkprobe.a
TOOL_SRC := $(filter-out tools/kpd.c tools/kpq.c,$(sort $(wildcard tools/*.c)))
TOOL_OBJ := $(TOOL_SRC:%.c=$(OUT)/%.o)
TOOL_LIB := $(OUT)/libtools.a
DEMO_BIN := $(patsubst demo/%.c,$(BIN)/kp-demo-%,$(filter-out demo/common%,$(wildcard demo/*.c)))
DEMO_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard demo/common*.c))
HELP_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/helpers/*.c tests/sim/*.c))
HELP_LIB := $(OUT)/libhelpers.a
TEST_SRC := $(sort $(wildcard tests/unit/*.c tests/fault/*.c tests/live/*.c tests/query/*.c tests/cli/*.c))
TEST_BIN := $(TEST_SRC:%.c=$(OUT)/%)
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
REPLAY   := $(FUZZ_SRC:tests/fuzz/%.c=$(OUT)/tests/replay_%)
BENCH    := $(patsubst %.c,$(OUT)/%,$(wildcard bench/bench_*.c))
BENCH_DIR := build/bench
PEER_OBJ := $(patsubst %.c,$(OUT)/%.o,$(filter-out bench/bench_%,$(wildcard bench/*.c)))
PEER_LIB := $(OUT)/libpeers.a
INCIDENT := $(OUT)/tests/incident
ORACLE   := $(OUT)/tests/oracle/queries
BPF_SRC  := $(wildcard bpf/*.bpf.c)
BPF_OBJ  := $(BPF_SRC:bpf/%.bpf.c=build/bpf/%.bpf.o)
BPF_SKEL := $(if $(filter 0,$(BPF)),,$(if $(BPF_SRC),$(GEN)/capture.skel.h))

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: deps all demo demo-accuracy truth truth-sim test check bench bench-store bench-query fuzz \
	soak-codec soak-oracle soak-crash soak-steps soak-restart soak-nth soak-rot soak-kill soak-tamper asan ubsan tsan \
	tidy format man install uninstall clean help FORCE

COMPLETIONS := bash-completion/completions/kpq zsh/vendor-completions/_kpq fish/vendor_completions.d/kpq.fish
PROGRAMS := $(patsubst tools/%.c,$(BIN)/%,$(wildcard tools/kpd.c tools/kpq.c)) $(DEMO_BIN)

all: $(LIB) $(PROGRAMS) ## build the programs

deps: ## install missing Debian packages, or say which
	$(Q)tools/deps.sh

demo: deps ## record a small payments stack and explain one slow payment
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(BIN)/kpq demo

demo-accuracy: all ## repeat the demo N times and count how often the culprit is named
	$(Q)$(BIN)/kpq demo --accuracy $(N)

test: deps ## build and run every test
	$(Q)$(MAKE) --no-print-directory all check

truth: all $(INCIDENT) ## make N faults of every class for real and score the answers
	$(Q)tests/incidents/truth.py $(OUT) --runs $(N) $(TRUTH)

truth-sim: $(OUT)/tests/unit/test_sim $(OUT)/tests/unit/test_walks ## N simulated worlds: accuracy, how it falls with evidence, and beside other tools
	$(Q)for test in $^; do KP_SIM_SEEDS=$(N) $$test || exit; done

check: $(TEST_BIN) $(REPLAY) $(PROGRAMS) $(INCIDENT) $(ORACLE) # the tests, packages present
	$(Q)tests/run.sh $(OUT)

bench: all $(BENCH) ## run the benches
	$(Q)for b in $(filter-out %/bench_peers,$(BENCH)); do $$b || exit 1; done

bench-store: all $(BENCH) ## size, ingest and finding, beside DuckDB and ClickHouse, on BENCH_EVENTS recorded ones
	$(Q)bench/deps.sh && bench/peers.sh && bench/record.sh $(BIN) $(BENCH_DIR) $(BENCH_EVENTS)
	$(Q)$(OUT)/bench/bench_store $(BENCH_DIR)/data
	$(Q)$(OUT)/bench/bench_peers store $(BENCH_DIR)/data $(BENCH_DIR)/peers
	$(Q)$(OUT)/bench/bench_find $(BENCH_FIND)

bench-query: all $(BENCH) ## ten questions, beside DuckDB and ClickHouse, answers compared
	$(Q)bench/deps.sh && bench/peers.sh && bench/record.sh $(BIN) $(BENCH_DIR) $(BENCH_EVENTS)
	$(Q)$(OUT)/bench/bench_peers query $(BENCH_DIR)/data $(BENCH_DIR)/peers

fuzz: $(FUZZ_SRC:tests/fuzz/%.c=build/fuzz/%) ## run every fuzzer for FUZZ_SECONDS
	$(Q)tests/fuzz/run.sh $(FUZZ_SECONDS) $^

soak-codec: $(OUT)/tests/unit/test_decoders ## decoders over VECTORS columns of every kind
	$(Q)KP_CODEC_VECTORS=$(VECTORS) $<

soak-oracle: N = 1000000
soak-oracle: $(ORACLE) ## ask N random queries of this engine and of DuckDB
	$(Q)$< $(N) $$(date +%s)

soak-crash: N = 10000000
soak-crash: $(OUT)/tests/fault/test_crash ## lose power in N states of random workloads, from SEED on
soak-steps: N = 6
soak-steps: $(OUT)/tests/fault/test_steps ## lose power everywhere in all sequences of N operations
soak-restart: N = 1000000
soak-restart: $(OUT)/tests/fault/test_restart ## lose power in N states of starts after lost power
soak-nth: N = 200
soak-nth: $(OUT)/tests/fault/test_nth ## every n-th operation of N workloads fails, alone and in pairs
soak-rot: N = 5000000
soak-rot: $(OUT)/tests/fault/test_rot ## change N places of stores as disks change them
soak-kill: N = 20000
soak-kill: $(OUT)/tests/fault/test_kill ## kill N writers on this file system, XFS and btrfs
soak-tamper: N = 20000
soak-tamper: $(OUT)/tests/fault/test_tamper ## change N sealed stores in every way, each named by the proof
soak-crash soak-steps soak-restart soak-nth soak-rot soak-kill soak-tamper:
	$(Q)KP_COUNT=$(N) KP_SEED=$(SEED) $<

asan ubsan tsan: ## run the tests under a sanitizer
	$(Q)$(MAKE) --no-print-directory SAN=$(if $(filter asan,$@),address,$(if $(filter ubsan,$@),undefined,thread)) all check

tidy: ## check layering, names, length and format
	$(Q)tests/tidy.sh

format: ## format the sources
	$(Q)clang-format -i $$(git ls-files '*.c' '*.h')

man: $(wildcard man/*.[1-8]) ## check the man pages
	$(Q)for m in $^; do man --warnings -l $$m >/dev/null || exit 1; done

install: all ## install under PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 755 $(BIN)/kpd $(BIN)/kpq $(DEMO_BIN) $(DESTDIR)$(PREFIX)/bin
	mkdir -p $(DESTDIR)$(PREFIX)/share/kprobe && cp -r demo/recording $(DESTDIR)$(PREFIX)/share/kprobe
	for m in man/*.1; do [ ! -f $$m ] || install -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man1; done
	for m in man/*.8; do [ ! -f $$m ] || install -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man8; done
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,$(dir $(COMPLETIONS)))
	$(BIN)/kpq completions bash >$(DESTDIR)$(PREFIX)/share/$(word 1,$(COMPLETIONS))
	$(BIN)/kpq completions zsh >$(DESTDIR)$(PREFIX)/share/$(word 2,$(COMPLETIONS))
	$(BIN)/kpq completions fish >$(DESTDIR)$(PREFIX)/share/$(word 3,$(COMPLETIONS))

uninstall: ## remove what install put there
	rm -rf $(DESTDIR)$(PREFIX)/share/kprobe/recording
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/,$(COMPLETIONS))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,kpd kpq $(notdir $(DEMO_BIN)))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man1/,$(notdir $(wildcard man/*.1)))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man8/,$(notdir $(wildcard man/*.8)))

clean: ## remove everything built
	rm -rf build

help: ## list the targets
	$(Q)sed -n 's/^\([a-z -]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# --- rules ---
$(GEN)/version: FORCE
	$(Q)mkdir -p $(@D) && echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' > $@

$(OUT)/src/base/version.o: $(GEN)/version

$(GEN)/syscalls.inc:
	$(call say,GEN,$@)mkdir -p $(@D) && $(CC) -E -dM -x c /dev/null -include asm/unistd.h \
	  | sed -n 's/^#define __NR_\([a-z0-9_]*\) \([0-9]*\)$$/\2 \1/p' | sort -n \
	  | awk '{print "KP_SYSCALL("$$1", \""$$2"\")"}' > $@

$(GEN)/lex.c: grammar/lex.re
	$(call say,RE2C,$@)mkdir -p $(@D) && re2c -W -Werror --no-generation-date -i -o $@ $<

$(GEN)/query.c: grammar/query.y
	$(call say,LEMON,$@)mkdir -p $(@D) && lemon -s -q -d$(@D) $< >/dev/null || lemon -d$(@D) $<

$(GEN)/query.h: $(GEN)/query.c ;

build/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h bpf/*.def) src/column/catalogue.def
	$(call say,BPF,$@)mkdir -p $(@D) && $(CLANG) -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall \
	  $(if $(CI),-Werror) -Ibpf -Isrc -c $< -o $@

build/bpf/capture.o: $(BPF_OBJ)
	$(call say,BPFLD,$@)$(BPFTOOL) gen object $@ $^

$(GEN)/capture.skel.h: build/bpf/capture.o
	$(call say,SKEL,$@)mkdir -p $(@D) && $(BPFTOOL) gen skeleton $< name capture > $@

$(OUT)/gen/%.o: $(GEN)/%.c | $(GEN)/query.c
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(CPPFLAGS) -Isrc/query $(CFLAGS) -Wno-unused-parameter -w -MMD -MP -c $< -o $@

$(OUT)/%.o: %.c | $(GEN)/syscalls.inc $(if $(wildcard grammar/*),$(GEN)/query.c) $(BPF_SKEL)
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(CPPFLAGS) -Ibpf -Itools -Itests -Itests/helpers -DKP_BUILD_VERSION='"$(VERSION)"' \
	  $(CFLAGS) -MMD -MP -c $< -o $@

$(LIB): $(LIB_OBJ)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(HELP_LIB): $(HELP_OBJ)
$(TOOL_LIB): $(TOOL_OBJ)
$(PEER_LIB): $(PEER_OBJ)
$(HELP_LIB) $(TOOL_LIB) $(PEER_LIB):
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(BIN)/kpd $(BIN)/kpq: $(BIN)/%: $(OUT)/tools/%.o $(TOOL_LIB) $(LIB)
	$(call say,LD,$@)mkdir -p $(@D) && $(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

$(BIN)/kp-demo-%: $(OUT)/demo/%.o $(DEMO_OBJ)
	$(call say,LD,$@)mkdir -p $(@D) && $(CC) $(CFLAGS) -o $@ $^ -lpthread -lm

$(OUT)/tests/fault/test_memory: LDLIBS += $(addprefix -Wl$(comma)--wrap=,kp_big_alloc malloc calloc realloc aligned_alloc strdup)

$(TEST_BIN): %: %.o $(HELP_LIB) $(TOOL_LIB) $(LIB)
	$(call say,LD,$@)$(CC) $(CFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

$(INCIDENT): $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/incidents/*.c))
	$(call say,LD,$@)$(CC) $(CFLAGS) -o $@ $^ -lpthread

$(ORACLE): $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/oracle/*.c)) $(HELP_LIB) $(TOOL_LIB) $(LIB)
	$(call say,LD,$@)$(CC) $(CFLAGS) -o $@ $^ -lcmocka $(LDLIBS) \
	  $(if $(strip $(SAN)),-Wl$(comma)--no-as-needed -lstdc++)

$(REPLAY): $(OUT)/tests/replay_%: $(OUT)/tests/fuzz/%.o $(OUT)/tests/fuzz/replay.o $(LIB)
	$(call say,LD,$@)$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

$(BENCH): %: %.o $(PEER_LIB) $(HELP_LIB) $(TOOL_LIB) $(LIB)
	$(call say,LD,$@)$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

include tests/fuzz/fuzz.mk
-include $(shell find build -name '*.d' 2>/dev/null)
