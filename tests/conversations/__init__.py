"""Conversations as people have them, one script for each command, played on the Bot API's peer and in a real browser.

`script` reads them, `stages` are the two places, `play` directs, `test_scripts` plays them all. A script is a text:

    /stop ends what the agent is at.            what is shown, up to the first scene

    == In a direct message                      or: In a group, In a topic, which only Telegram has
    (The model takes its time.)                 a stage direction; `play.DIRECTIONS` are those there are
    (Ann presses Approve.)                      the newest button of that name
    Ann: What is the weather?                   a person, each of whom has a direct message of their own
    Ann: /stop
    Hermes: I stop.                             the next answer in the chat of whoever spoke last
    Hermes to Bob: echo: …                      or in another one
        Not: weather                            what is not in that answer

An answer is what is shown, without markup and with all white space alike; what is indented goes on with the line
before. `…` stands for anything, `{name}` for a word that is remembered and stands for itself from then on, also in what
people say. `{ann}` is known from the beginning: it is Ann's id on the platform. Every answer has to be in the script: a
scene ends when nothing is left to be done, and then nobody may have been told anything more, also not on a page that is
loaded again.
"""
