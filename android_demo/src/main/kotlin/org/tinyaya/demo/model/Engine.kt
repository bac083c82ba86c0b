package org.tinyaya.demo.model

/** A loaded program and its caches; one thread at a time. */
interface Engine : AutoCloseable {
    /**
     * Feeds 1 to `chunk` ids at [position]; logits of the vocabulary after the last one.
     *
     * Position 0 starts anew; any other must be the end of what was fed, or one that
     * [canRewind] allows. The array is the engine's own until the next step.
     */
    fun step(ids: IntArray, position: Int): FloatArray

    /** Starts anew, as if the ids of the manifest's preamble had been fed at position 0. */
    fun restore()

    /** Whether a step at [position], before the end, would see all the keys that it needs. */
    fun canRewind(position: Int): Boolean
}
