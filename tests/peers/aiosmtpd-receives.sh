# aiosmtpd: takes mail for two people of one domain, with STARTTLS.
cat > "$root/far.py" <<'X'
import asyncio, ssl, sys
from aiosmtpd.controller import Controller

class Box:
    async def handle_RCPT(self, server, session, envelope, address, options):
        person, domain = address.split('@')
        if domain != sys.argv[2] or person.split('+')[0] not in ('ben', 'cleo'):
            return '550 5.1.1 nobody'
        envelope.rcpt_tos.append(address)
        return '250 OK'

    async def handle_DATA(self, server, session, envelope):
        for person in {address.split('@')[0].split('+')[0] for address in envelope.rcpt_tos}:
            with open('/vmail/' + person, 'ab') as box:
                box.write(envelope.content)
        return '250 OK'

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('/far.crt', '/far.key')
controller = Controller(Box(), hostname=sys.argv[1], port=25, server_hostname='mx.' + sys.argv[2], tls_context=context)
controller.start()
while True:
    asyncio.run(asyncio.sleep(3600))
X
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /usr/bin/python3 /far.py "$address" "$domain"
