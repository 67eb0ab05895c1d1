"""mail.py send SUBJECT | read PASSWORD SUBJECT...: a letter in over SMTP with STARTTLS; exactly these letters over IMAP.

Run in the network namespace of the box. Tries again for half a minute: the box may be starting.
"""
import imaplib
import smtplib
import ssl
import sys
import time

ANYBODY = ssl.create_default_context()
ANYBODY.check_hostname, ANYBODY.verify_mode = False, ssl.CERT_NONE


def send(subject):
    with smtplib.SMTP("127.0.0.1", 25, local_hostname="far.example", timeout=60) as far:
        far.starttls(context=ANYBODY)
        far.sendmail("ben@far.example", ["anna@home.test"], f"From: ben@far.example\r\nSubject: {subject}\r\n\r\nhello\r\n")


def read(password, *subjects):
    with imaplib.IMAP4_SSL("127.0.0.1", 993, ssl_context=ANYBODY, timeout=60) as app:
        app.login("anna@home.test", password)
        found = []
        for folder in ["INBOX", "Junk"]:
            if app.select(folder, readonly=True)[0] != "OK":
                continue
            # As a phone begins: the keeper has, and keeps, what this asks for.
            app.fetch("1:*", "(ENVELOPE BODYSTRUCTURE)")
            for number in app.search(None, "ALL")[1][0].split():
                text = app.fetch(number, "(BODY.PEEK[])")[1][0][1].decode()
                found += [line[9:] for line in text.splitlines() if line.startswith("Subject: ")]
    if sorted(found) != sorted(subjects):
        sys.exit(f"expected {subjects}, found {found}")


until = time.monotonic() + 30
while True:
    try:
        {"send": send, "read": read}[sys.argv[1]](*sys.argv[2:])
        break
    except (OSError, smtplib.SMTPException, imaplib.IMAP4.error) as error:
        if time.monotonic() > until:
            raise
        print(f"mail.py: {error}; again", file=sys.stderr)
        time.sleep(0.5)
