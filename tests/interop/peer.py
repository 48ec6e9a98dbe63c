"""The other side of tests/interop.rs, with the library joserfc: makes keys, signs and verifies as it is asked to.

Speaks as peer.mjs does, which says how.
"""

import functools
import json
import sys
import warnings

from joserfc import jwt
from joserfc.errors import ClaimError, JoseError, SecurityWarning
from joserfc.jwk import JWKRegistry, KeySet, OctKey

# It warns of HS256 and others on principle.
warnings.simplefilter("ignore", SecurityWarning)

RSA = [name + bits for name in ("RS", "PS") for bits in ("256", "384", "512")]
EC = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
ED25519 = ["EdDSA", "Ed25519"]


def make_key(alg):
    parameters = {"kid": f"joserfc-{alg}", "alg": alg, "use": "sig"}
    if alg in RSA:
        return JWKRegistry.generate_key("RSA", 2048, parameters)
    if alg in EC:
        return JWKRegistry.generate_key("EC", EC[alg], parameters)
    if alg in ED25519:
        return JWKRegistry.generate_key("OKP", "Ed25519", parameters)
    return JWKRegistry.generate_key("oct", 512, parameters)


def described(key):
    answer = {"alg": key.alg, "kid": key.kid, "jwk": json.dumps(key.as_dict(private=True))}
    if not isinstance(key, OctKey):
        answer |= {"pem": key.as_pem(private=True).decode(), "thumbprint": key.thumbprint()}
    return answer


def generate(algorithms):
    keys = [make_key(alg) for alg in algorithms]
    public = KeySet([key for key in keys if not isinstance(key, OctKey)])
    return {"jwks": json.dumps(public.as_dict(private=False)), "keys": [described(key) for key in keys]}


# The primes of an RSA key are tested at each import, which takes a while.
@functools.cache
def signing_key(jwk):
    # Without the algorithm that the key names, which the library would hold to.
    return JWKRegistry.import_key({name: value for name, value in json.loads(jwk).items() if name != "alg"})


def sign(jwk, alg, kid, typ, claims):
    header = {"alg": alg, "kid": kid, "typ": typ}
    return jwt.encode(header, claims, signing_key(jwk), algorithms=[alg])


def verify(keys, token, issuer, audience, typ, now):
    jwks = json.loads(keys)
    if "keys" in jwks:
        key, algorithms = KeySet.import_key_set(jwks), RSA + list(EC) + ED25519
    else:
        key, algorithms = JWKRegistry.import_key(jwks), [jwks["alg"]]
    rules = jwt.JWTClaimsRegistry(
        now=now,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
    )
    try:
        verified = jwt.decode(token, key, algorithms=algorithms)
        rules.validate(verified.claims)
    except ClaimError as error:
        return {"refused": f"{error.error} {error.claim}"}
    except JoseError as error:
        return {"refused": error.error}
    # The library leaves it to its user.
    if verified.header.get("typ") != typ:
        return {"refused": "typ"}
    return {"claims": verified.claims}


REQUESTS = {"generate": generate, "sign": sign, "verify": verify}

for line in sys.stdin.buffer:
    request = json.loads(line)
    print(json.dumps(REQUESTS[request.pop("do")](**request)), flush=True)
