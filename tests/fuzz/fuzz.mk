# SPDX-License-Identifier: Apache-2.0
# How fuzzers are built: the library once with coverage, then each with its entry point.
FUZZ_CC = $(CLANG) $(CPPFLAGS) -Ibpf -Isrc/query -DKP_BUILD_VERSION='"fuzz"' -g -O1 -std=c11 -w \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
build/fuzz/obj/%.o: %.c | $(GEN)/syscalls.inc $(GEN)/query.c $(GEN)/lex.c $(BPF_SKEL)
	$(call say,FUZZ,$<)mkdir -p $(@D) && $(FUZZ_CC) -MMD -MP -c $< -o $@
build/fuzz/obj/lib.a: $(patsubst %.c,build/fuzz/obj/%.o,$(LIB_SRC) $(GEN)/query.c $(GEN)/lex.c)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^
build/fuzz/%: tests/fuzz/%.c build/fuzz/obj/lib.a
	$(call say,FUZZ,$@)$(FUZZ_CC) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)
