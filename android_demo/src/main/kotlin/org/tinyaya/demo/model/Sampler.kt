package org.tinyaya.demo.model

import org.tinyaya.demo.bundle.SamplingDefaults
import org.tinyaya.demo.bundle.SamplingError
import java.util.Random
import kotlin.math.exp

/**
 * Logits of one position in, the id of the next token out: temperature, then top-k, then top-p.
 *
 * Of equal logits, the lower id comes first. A seed gives one sequence of draws, another one than
 * in Python. Throws [SamplingError] for values out of range.
 */
class Sampler(private val options: SamplingDefaults, seed: Long) {
    private val random = Random(seed)

    init {
        options.problem()?.let { throw SamplingError(it) }
    }

    /** An id; never one at -inf. Throws [SamplingError] where no other is left. */
    fun sample(logits: FloatArray): Int {
        val best = likeliest(logits)
        if (!logits[best].isFinite()) {
            throw SamplingError("the highest logit is ${logits[best]}; expected a finite one: the program is broken")
        }
        return if (options.temperature == 0.0) best else draw(logits)
    }

    private fun likeliest(logits: FloatArray): Int {
        var best = 0
        for (id in logits.indices) {
            if (logits[id].isNaN()) return id
            if (logits[id] > logits[best]) best = id
        }
        return best
    }

    private fun draw(logits: FloatArray): Int {
        val ids = candidates(logits)
        val weights = DoubleArray(ids.size) { exp((logits[ids[it]].toDouble() - logits[ids[0]]) / options.temperature) }
        val sums = weights.runningReduce { sum, weight -> sum + weight }
        val kept = sums.indexOfFirst { it >= options.topP * sums.last() } + 1
        val point = random.nextDouble() * sums[kept - 1]
        return ids[sums.indexOfFirst { it >= point }]
    }

    /** The likeliest ids, likeliest first: a heap of the best k, of which the least is on top. */
    private fun candidates(logits: FloatArray): IntArray {
        val count = if (options.topK in 1 until logits.size) options.topK else logits.size
        val worstFirst = Comparator<Int> { a, b ->
            if (logits[a] != logits[b]) logits[a].compareTo(logits[b]) else b.compareTo(a)
        }
        val heap = java.util.PriorityQueue(count, worstFirst)
        for (id in logits.indices) {
            if (heap.size == count && logits[id] <= logits[heap.peek()!!]) continue
            if (heap.size == count) heap.poll()
            heap.add(id)
        }
        return heap.sortedWith(worstFirst.reversed()).toIntArray()
    }
}
