package org.tinyaya.demo.tokenizer

/** A pair of ids in, the rank of their merge and the id that comes of it out; open addressing. */
internal class Merges(count: Int) {
    private val mask = Integer.highestOneBit(maxOf(count, 4) * 2 - 1) * 2 - 1
    private val pairs = LongArray(mask + 1) { FREE }
    private val values = LongArray(mask + 1)

    /** Adds a merge; false if the pair has one. */
    fun add(left: Int, right: Int, rank: Int, merged: Int): Boolean {
        val pair = pair(left, right)
        var slot = slot(pair)
        while (pairs[slot] != FREE) {
            if (pairs[slot] == pair) return false
            slot = (slot + 1) and mask
        }
        pairs[slot] = pair
        values[slot] = pair(rank, merged)
        return true
    }

    /** Rank and merged id as one number, rank first; -1 if the pair does not merge. */
    fun find(left: Int, right: Int): Long {
        val pair = pair(left, right)
        var slot = slot(pair)
        while (pairs[slot] != FREE) {
            if (pairs[slot] == pair) return values[slot]
            slot = (slot + 1) and mask
        }
        return NONE
    }

    private fun pair(high: Int, low: Int) = (high.toLong() shl 32) or low.toLong()

    private fun slot(pair: Long): Int {
        val mixed = pair * -0x61c8864680b583ebL
        return (mixed ushr 33).toInt() and mask
    }

    companion object {
        const val NONE = -1L
        private const val FREE = -1L

        /** The rank in what [find] gave. */
        fun rank(found: Long): Int = (found ushr 32).toInt()

        /** The id in what [find] gave. */
        fun merged(found: Long): Int = found.toInt()
    }
}
