# smtp-sink: takes everything, in clear, seven bits only; all of it lies in vmail/everybody.
account vmail 5000 /vmail
in_root sh -c 'cd /vmail && exec smtp-sink -8 -u vmail -D everybody "$0" 100' "$address:25"
