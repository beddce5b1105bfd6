"""Mutants that no check kills, each with the reason why it makes no difference to anybody."""

SURVIVORS = {
    "bolt": {},
    "hsf": {
        "requests without a readable destination read": "service and method always stand in the frame",
        "too little room asked for replies": "room is for texts that grow sixfold; HSF's do not",
        "endianness of message.timeout flipped (2)": "of the heartbeat's: nobody reads it",
        "sign of message.timeout flipped (2)": "of the heartbeat's: nobody reads it",
        "endianness of message.timeout flipped (3)": "of the heartbeat's: nobody reads it",
        "sign of message.timeout flipped (3)": "of the heartbeat's: nobody reads it",
    },
    "motan": {
        "requests without a readable destination read": "a map is read as far as it goes: none is unreadable",
        "bits of flags.reserved shifted": "nobody reads them",
        "bits of flags.gzip shifted": "nobody reads it: bodies are passed on as they are",
    },
    "tr": {
        "the rest of a front told a byte longer": "TR's frames are whole",
        "one status taken for another": "TR's answers tell of one error",
        "one status for all errors": "TR's answers tell of one error",
        "the service's own errors not seen": "TR's answers do not tell them from others",
        "connections not shared by even and odd ids": "no client shares one",
        "the caller's budget doubled": "TR's requests name none",
        "requests without a readable destination read": "where there is none they are of another codec",
        "the first header left out": "TR has no headers",
        "headers taken for raw values": "TR has no headers",
        "ids said to be half as wide": "nothing is written into an id",
    },
    "dubbo": {
        "the rest of a front told a byte longer": "Dubbo's frames are whole: their bodies say where they go",
    },
}
