# Debian's /usr/bin/barbican-wsgi-api with the configuration that every user may read.
from paste import deploy

application = deploy.loadapp(
    "config:/usr/share/barbican-common/barbican-api-paste.ini")
