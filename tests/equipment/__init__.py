"""Doubles and helpers that several folders of tests share.

``until``
    Waits for a condition, and for the event loop.
``key``
    The secret key of tests.
``checkout``
    The folder of the checkout, and its commands.
``recordings``
    What clients and servers of older libraries said to each other.
``serving``
    A server on a free port, a session, and a client in memory, each in one line.
``peers``
    One side of a conversation, frame by frame.
``websockets``
    A client that sends any WebSocket frame, and a server that follows a script.
``clocks``
    Clocks that a test moves.
``handlers``
    Handlers of routes that do not end when they should.
``ports``
    A TCP port with a script, and ports that are vacant, taken or free.
``proxy``
    A network between client and server that cuts, delays, splits, merges and loses.
``transports``
    A transport in memory that can be stopped.
``processes``
    Bots and dashboards in processes of their own; the benchmarks' processes are of the same kind.
``programs``
    Reverse proxies and other servers that are no Python.
``browser``
    A real browser.
``certificates``
    Certificates of an authority that only the tests know.
``websites``
    A website without the library.
``usage``
    What this process uses.
"""
