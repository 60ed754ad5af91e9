"""``hatch run fuzz``: feeds anything to what reads messages, guided by coverage.

Each target may raise what it documents and nothing else, may hold no more memory than its input justifies, and keeps
its invariants. Inputs to start from are in ``corpus``; the tests replay them. An input that fails is kept in
``.cache/fuzz``: add it to the corpus together with the correction.
"""
