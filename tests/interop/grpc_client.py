"""A gRPC client that shares no code with the server: grpcio. Prints what it saw of each call, as JSON.

    grpc_client.py HOST:PORT < {"good": "TOKEN", "admin": "TOKEN"}
"""

import json
import sys

import grpc


def encode(text):
    data = text.encode()
    assert len(data) < 128
    return bytes([0x0A, len(data)]) + data


def decode(message):
    assert message[0] == 0x0A and message[1] == len(message) - 2
    return message[2:].decode()


def outcome(call):
    try:
        return ["OK", call()]
    except grpc.RpcError as error:
        return [error.code().name, error.details()]


def main():
    tokens = json.load(sys.stdin)
    channel = grpc.insecure_channel(sys.argv[1])
    serializers = {"request_serializer": encode, "response_deserializer": decode}
    greet = channel.unary_unary("/example.Greeter/Greet", **serializers)
    repeat = channel.unary_stream("/example.Greeter/Repeat", **serializers)
    chat = channel.stream_stream("/example.Greeter/Chat", **serializers)
    stop = channel.unary_unary("/example.Admin/Stop", **serializers)

    def bearer(token):
        return {"metadata": [("authorization", f"Bearer {token}")], "timeout": 20}

    good, admin, bad = bearer(tokens["good"]), bearer(tokens["admin"]), bearer("x.y.z")
    print(json.dumps({
        "no token": outcome(lambda: greet("Hello", timeout=20)),
        "a bad token": outcome(lambda: greet("Hello", **bad)),
        "a good token": outcome(lambda: greet("Hello", **good)),
        "no scope": outcome(lambda: stop("now", **good)),
        "the scope": outcome(lambda: stop("now", **admin)),
        "a stream": outcome(lambda: list(repeat("Hello", **good))),
        "a stream without a token": outcome(lambda: list(repeat("Hello", timeout=20))),
        "both sides stream": outcome(lambda: list(chat(iter(["one", "two"]), **good))),
        "both sides stream without a token": outcome(lambda: list(chat(iter(["one", "two"]), timeout=20))),
    }))


main()
