"""The exposed service: lists published extracts and scores, serves files, takes requests, to who holds a token.

What belongs in this room: HTTP, and what every request goes through: the token, the limits, the audit. What does not:
making or changing an extract or a score; the service reads the store and the serving database, and its own database
holds tokens, requests and the audit.

    running      from settings to a server that listens
    app          the application: routes put together, errors as answers
    gate         what every request passes: token, limits, body, audit
    doorkeeper   whether a token is known · limits  how much it may have · journal  the audit's lines
    extracts, files, requests, scores, status    the routes
"""

from ds_pipelines.gateway.server.app import create_app as create_app
from ds_pipelines.gateway.server.running import serve as serve
from ds_pipelines.gateway.server.scores import Offer as Offer
