package org.tinyaya.demo.tokenizer

/**
 * The bytes of a token in, its id out, and back; open addressing in plain arrays, because a quarter
 * of a million strings in a HashMap take a phone too much.
 */
internal class Vocabulary {
    private var pool = ByteArray(1 shl 16)
    private var used = 0
    private var starts = IntArray(1 shl 12)
    private var lengths = IntArray(1 shl 12) { ABSENT }
    private var slots = IntArray(1 shl 13) { ABSENT }
    private var count = 0

    /** One more than the highest id. */
    var size = 0
        private set

    /** Adds a token; false if the id is taken. */
    fun add(bytes: ByteArray, id: Int): Boolean {
        if (id >= starts.size) growIds(id)
        if (lengths[id] != ABSENT) return false
        if (used + bytes.size > pool.size) pool = pool.copyOf(maxOf(pool.size * 2, used + bytes.size))
        bytes.copyInto(pool, used)
        starts[id] = used
        lengths[id] = bytes.size
        used += bytes.size
        size = maxOf(size, id + 1)
        if (++count * 2 > slots.size) rehash() else insert(id)
        return true
    }

    /** The id of bytes [start] to [end] of [bytes]; -1 if they are no token. */
    fun id(bytes: ByteArray, start: Int = 0, end: Int = bytes.size): Int {
        var slot = hash(bytes, start, end) and (slots.size - 1)
        while (slots[slot] != ABSENT) {
            if (equals(slots[slot], bytes, start, end)) return slots[slot]
            slot = (slot + 1) and (slots.size - 1)
        }
        return ABSENT
    }

    /** The bytes of a token; null if there is no such id. */
    fun bytes(id: Int): ByteArray? =
        if (id in 0 until size && lengths[id] != ABSENT) {
            pool.copyOfRange(starts[id], starts[id] + lengths[id])
        } else {
            null
        }

    private fun equals(id: Int, bytes: ByteArray, start: Int, end: Int): Boolean {
        if (lengths[id] != end - start) return false
        return (start until end).all { pool[starts[id] + it - start] == bytes[it] }
    }

    private fun growIds(id: Int) {
        val larger = maxOf(starts.size * 2, id + 1)
        val old = lengths.size
        starts = starts.copyOf(larger)
        lengths = lengths.copyOf(larger).also { it.fill(ABSENT, old, larger) }
    }

    private fun rehash() {
        slots = IntArray(slots.size * 2) { ABSENT }
        for (id in 0 until size) if (lengths[id] != ABSENT) insert(id)
    }

    private fun insert(id: Int) {
        var slot = hash(pool, starts[id], starts[id] + lengths[id]) and (slots.size - 1)
        while (slots[slot] != ABSENT) slot = (slot + 1) and (slots.size - 1)
        slots[slot] = id
    }

    private fun hash(bytes: ByteArray, start: Int, end: Int): Int {
        var hash = -0x7ee3623b // FNV-1a
        for (i in start until end) hash = (hash xor bytes[i].toInt()) * 0x01000193
        return hash xor (hash ushr 15)
    }

    companion object {
        const val ABSENT = -1
    }
}
