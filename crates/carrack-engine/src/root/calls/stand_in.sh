#!/bin/sh
# Stands in for a program while a build runs, and is in no image. Asks Carrack before and tells it after.
if [ -z "${@VARIABLE@+x}" ]; then @VARIABLE@=@PATH@; export @VARIABLE@; fi
for carrack_slot in @SLOTS@ ''; do
    [ -n "$carrack_slot" ] || break
    carrack_talk=@TALK@/$carrack_slot
    (set -C; : >"$carrack_talk/taken") 2>/dev/null && break
done
[ -n "$carrack_slot" ] || exec @REAL@ "$@"
echo "call $$ @NUMBER@" >"$carrack_talk/ask"
read -r carrack_word carrack_jobs <"$carrack_talk/answer"
if [ "$carrack_word" = ask ]; then
    . "$carrack_talk/question"
    echo said >"$carrack_talk/ask"
    read -r carrack_word carrack_jobs <"$carrack_talk/answer"
fi
if [ "$carrack_word" != watch ]; then
    echo free >"$carrack_talk/ask"
    exec @REAL@ "$@"
fi
if [ -n "$carrack_jobs" ]; then
    # Two of one digit, which every shell can open. Not by the FIFO's name: an older make takes only numbers.
    exec 8<@JOBS@ 9>@JOBS@
    export "$carrack_jobs=-j --jobserver-fds=8,9 --jobserver-auth=8,9"
fi
@REAL@ "$@"
carrack_code=$?
echo ended >"$carrack_talk/ask"
read -r carrack_word <"$carrack_talk/answer"
echo free >"$carrack_talk/ask"
exit "$carrack_code"
