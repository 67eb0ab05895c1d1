"""A mail server with one fault, which no real one has to order.

faulty.py ADDRESS CERTIFICATE KEY FOLDER FAULT: on port 25, with STARTTLS. FOLDER/mail gets every letter whose end was seen,
FOLDER/log what was said, and `cut off` for a letter without its end. FAULT:
  greylisting   each recipient is refused for now the first time (451)
  never         each recipient is refused for now
  full          each letter is refused at its end (552)
  hang          the end of a letter is never answered
  slow          the end of a letter is answered once there is a file FOLDER/go
  pause         MAIL is answered once there is a file FOLDER/go
  closed        it takes no mail at all (554 in place of a greeting)
  drop          the first letter's end is answered by closing the connection
  odd           each letter's end is answered with a yes, each time in another way of its own
  garbage       STARTTLS is agreed to, and no TLS follows
"""

import os
import socketserver
import ssl
import sys
import threading
import time

address, certificate, key, folder, fault = sys.argv[1:6]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
lock = threading.Lock()
seen = set()
YESES = [b'250 taken ' + b'x' * 3000 + b'\r\n', b'250 taken\n', b'250-a\n250 b\r\n', b'\r\n250 taken\r\n', b'250 taken']


def note(name, text):
    with lock, open(os.path.join(folder, name), 'a', newline='') as out:
        out.write(text)


def first(what):
    with lock:
        new = what not in seen
        seen.add(what)
        return new


class Session(socketserver.BaseRequestHandler):
    def handle(self):
        self.stream = self.request.makefile('rwb')
        if fault == 'closed':
            return self.say('554-5.7.1 No service for you.\r\n554 5.7.1 Ask postmaster@fault.test')
        self.say('220 mx.fault.test ESMTP')
        while True:
            line = self.stream.readline().decode('latin-1').strip()
            if not line:
                return
            note('log', line + '\n')
            if not self.command(line):
                return

    def say(self, text):
        self.stream.write(text.encode() + b'\r\n')
        self.stream.flush()

    def command(self, line):
        verb = line.split()[0].upper()
        if verb == 'EHLO':
            self.say('250-mx.fault.test\r\n250 STARTTLS')
        elif verb == 'STARTTLS':
            self.say('220 go on')
            if fault == 'garbage':
                self.say('this is no TLS')
                return False
            self.request = context.wrap_socket(self.request, server_side=True)
            self.stream = self.request.makefile('rwb')
        elif verb == 'RCPT' and fault == 'greylisting' and first(line):
            self.say('451 4.7.1 greylisted, come back')
        elif verb == 'RCPT' and fault == 'never':
            self.say('450 4.7.1 cannot find your reverse hostname')
        elif verb == 'MAIL' and fault == 'pause':
            self.wait()
            self.say('250 ok')
        elif verb == 'DATA':
            self.say('354 go on')
            return self.letter()
        elif verb == 'QUIT':
            self.say('221 bye')
            return False
        else:
            self.say('250 ok')
        return True

    def wait(self):
        while not os.path.exists(os.path.join(folder, 'go')):
            time.sleep(0.05)

    def letter(self):
        text = b''
        while not text.endswith(b'\r\n.\r\n'):
            line = self.stream.readline()
            if not line:
                note('log', 'cut off\n')
                return False
            text += line
        note('mail', text.decode('latin-1'))
        if fault == 'full':
            self.say('552 5.2.2 no room for it')
        elif fault == 'hang':
            time.sleep(3600)
        elif fault == 'slow':
            self.wait()
            self.say('250 2.0.0 taken')
        elif fault == 'odd':
            with lock:
                answer = YESES.pop()
            self.stream.write(answer)
            self.stream.flush()
            return False
        elif fault == 'drop' and first('drop'):
            return False
        else:
            self.say('250 2.0.0 taken')
        return True


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server((address, 25), Session).serve_forever()
