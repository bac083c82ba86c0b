package org.tinyaya.demo.model

import org.tinyaya.demo.bundle.EmptyPromptError
import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.PromptError
import org.tinyaya.demo.bundle.PromptTooLongError
import org.tinyaya.demo.bundle.RewindError

/** Token ids in, logits of the next token out; a session remembers what it was fed. */
class Session(private val engine: Engine, private val manifest: Manifest) : AutoCloseable {
    private val fed = ArrayList<Int>()

    /** How many tokens the session holds; the next one goes here. */
    val position: Int get() = fed.size

    /** How many tokens still fit into the context. */
    val room: Int get() = manifest.limits.context - position

    /**
     * Feeds [ids] in chunks; logits after the last one, -inf for ids without a token.
     *
     * At position 0, ids that begin with the bundle's preamble start from it. [advance]: called after that and
     * after each chunk with the number of ids done; what it throws leaves the session there. All
     * checks come before any work. Throws [PromptError].
     */
    fun prefill(ids: IntArray, advance: (Int) -> Unit = {}): FloatArray {
        check(ids)
        var done = restore(ids)
        if (done > 0) advance(done)
        var logits = FloatArray(0)
        while (done < ids.size) {
            val part = ids.copyOfRange(done, minOf(done + manifest.limits.chunk, ids.size))
            logits = engine.step(part, position)
            part.forEach { fed += it }
            done += part.size
            advance(done)
        }
        for ((low, high) in manifest.tokens.unused) {
            if (low < logits.size) logits.fill(Float.NEGATIVE_INFINITY, low, minOf(high, logits.size))
        }
        return logits
    }

    /**
     * Feeds [ids] as a whole text of its own, keeping what the session already holds of it.
     *
     * [advance] counts all of [ids]. Returns the logits after the last one.
     */
    fun prefillFromStart(ids: IntArray, advance: (Int) -> Unit = {}): FloatArray {
        val common = common(ids)
        if (common > (manifest.preamble?.ids?.size ?: 0) && (common == position || engine.canRewind(common))) {
            rewind(common)
        } else {
            reset()
        }
        val kept = position
        if (kept > 0) advance(kept)
        return prefill(ids.copyOfRange(kept, ids.size)) { advance(kept + it) }
    }

    /** Forgets everything; always possible. */
    fun reset() {
        fed.clear()
    }

    /** Forgets the tokens from [position] on. Throws [RewindError] where their keys are gone. */
    fun rewind(position: Int) {
        if (position !in 0..this.position) throw RewindError("cannot rewind to $position; expected 0 to ${this.position}")
        if (position < this.position && !engine.canRewind(position)) {
            throw RewindError("position $position needs keys that the window layers dropped on the way to ${this.position}")
        }
        while (fed.size > position) fed.removeAt(fed.size - 1)
    }

    override fun close() = engine.close()

    /** How many of [ids] the session holds from its start, at most all but one: the last gives the logits. */
    private fun common(ids: IntArray): Int {
        var count = 0
        while (count < ids.size - 1 && count < fed.size && fed[count] == ids[count]) count++
        return count
    }

    private fun restore(ids: IntArray): Int {
        val preamble = manifest.preamble ?: return 0
        if (position > 0 || ids.size <= preamble.ids.size) return 0
        if (preamble.ids.indices.any { preamble.ids[it] != ids[it] }) return 0
        engine.restore()
        fed += preamble.ids
        return position
    }

    private fun check(ids: IntArray) {
        if (ids.isEmpty()) throw EmptyPromptError("there are no tokens to feed; expected at least one")
        if (ids.size > room) {
            throw PromptTooLongError(
                "${ids.size} tokens do not fit: the session holds $position of a context of " +
                    "${manifest.limits.context}; shorten the prompt or begin anew",
            )
        }
        val vocabSize = manifest.model.vocabSize
        ids.firstOrNull { it !in 0 until vocabSize }
            ?.let { throw PromptError("id $it is no token; expected 0 to ${vocabSize - 1}") }
    }
}
