package org.tinyaya.demo.tokenizer

import java.util.PriorityQueue

/** The bytes of one piece of text in, ids out: the lowest rank merges first, of equals the leftmost. */
internal class BytePairs(private val vocabulary: Vocabulary, private val merges: Merges, private val wholeFirst: Boolean) {
    private val byteIds = IntArray(256) { vocabulary.id(byteArrayOf(it.toByte())) }

    /** A byte that has no token; -1 if all have. */
    val missingByte: Int get() = byteIds.indexOf(Vocabulary.ABSENT)

    /** Adds the ids of [bytes] from [start] to [end] to [ids]. */
    fun encode(bytes: ByteArray, start: Int, end: Int, ids: IntList) {
        if (wholeFirst) {
            val whole = vocabulary.id(bytes, start, end)
            if (whole >= 0) return ids.add(whole)
        }
        val word = Word(IntArray(end - start) { byteIds[bytes[start + it].toInt() and 0xff] })
        word.merge()
        word.addTo(ids)
    }

    /** A chain of symbols; a merge keeps the left one and drops the right one. */
    private inner class Word(private val ids: IntArray) {
        private val next = IntArray(ids.size) { it + 1 }
        private val previous = IntArray(ids.size) { it - 1 }
        private val queue = PriorityQueue<Candidate>()

        fun merge() {
            for (at in 0 until ids.size - 1) consider(at)
            while (true) {
                val best = queue.poll() ?: return
                val right = if (ids[best.at] == DROPPED) ids.size else next[best.at]
                if (right >= ids.size || merges.find(ids[best.at], ids[right]) != best.found) continue
                join(best.at, right, Merges.merged(best.found))
            }
        }

        fun addTo(out: IntList) {
            var at = 0
            while (at < ids.size) {
                out.add(ids[at])
                at = next[at]
            }
        }

        private fun join(left: Int, right: Int, merged: Int) {
            ids[left] = merged
            ids[right] = DROPPED
            next[left] = next[right]
            if (next[left] < ids.size) {
                previous[next[left]] = left
                consider(left)
            }
            if (previous[left] >= 0) consider(previous[left])
        }

        private fun consider(at: Int) {
            val found = merges.find(ids[at], ids[next[at]])
            if (found != Merges.NONE) queue.add(Candidate(found, at))
        }
    }

    private class Candidate(val found: Long, val at: Int) : Comparable<Candidate> {
        override fun compareTo(other: Candidate): Int {
            val byRank = Merges.rank(found).compareTo(Merges.rank(other.found))
            return if (byRank != 0) byRank else at.compareTo(other.at)
        }
    }

    private companion object {
        const val DROPPED = -2
    }
}

/** Ids that are added one by one. */
class IntList {
    private var items = IntArray(64)

    var size = 0
        private set

    fun add(item: Int) {
        if (size == items.size) items = items.copyOf(size * 2)
        items[size++] = item
    }

    fun toIntArray(): IntArray = items.copyOf(size)
}
