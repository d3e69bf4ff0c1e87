"""The store of keys and values has room for the rows that there are, and for no more."""

import torch

from trainer.kv import ROWS_STEP, STEP, KeyValues

LAYERS, HEADS, WIDTH = 2, 3, 4


def read(positions, value=1.0):
    """What a row has read, all of it one number."""
    return torch.full((2, LAYERS, HEADS, positions, WIDTH), value)


def room(rows, positions):
    return 2 * LAYERS * rows * HEADS * positions * WIDTH * 4


def step(store, positions):
    """Let one token of each row be read, and return what the last layer sees."""
    store.begin(torch.tensor(positions))
    states = torch.zeros(len(positions), HEADS, 1, WIDTH)
    return [store.update(states, states, layer) for layer in range(LAYERS)][-1]


def test_a_long_row_after_many_short_ones_does_not_make_room_for_as_many_long_ones():
    store = KeyValues(LAYERS)
    for row in range(64):
        store.put(row, read(5))
    step(store, [5] * 64)
    assert store.bytes == room(64, STEP)
    store.put(8, read(3 * STEP))  # when all but eight have left
    assert store.bytes == room(ROWS_STEP, 4 * STEP)


def test_many_short_rows_after_a_long_one_have_no_more_room_than_they_need():
    store = KeyValues(LAYERS)
    store.put(0, read(3 * STEP))
    step(store, [3 * STEP])
    assert store.bytes == room(ROWS_STEP, 4 * STEP)
    store.put(0, read(6, value=7.0))  # the long one has left, and a short one is in its place
    step(store, [6])
    for row in range(1, 64):
        store.put(row, read(5))
    assert store.bytes == room(64, STEP)
    keys, values = step(store, [7] + [5] * 63)
    for seen in (keys, values):
        assert (seen[0, :, :6] == 7).all()
        assert (seen[0, :, 6:] == 0).all()
        assert (seen[1:, :, :5] == 1).all()


def test_what_is_there_stays_when_the_room_changes():
    store = KeyValues(LAYERS)
    for row in range(3):
        store.put(row, read(5 + row, value=row + 1.0))
    store.put(3, read(2 * STEP, value=4.0))
    for row in range(4, ROWS_STEP + 1):
        store.put(row, read(2, value=row + 1.0))
    positions = [5, 6, 7, 2 * STEP] + [2] * (ROWS_STEP - 3)
    keys, values = step(store, positions)
    for row, position in enumerate(positions):
        for seen in (keys, values):
            assert (seen[row, :, :position] == row + 1.0).all()
            assert (seen[row, :, position:] == 0).all()
