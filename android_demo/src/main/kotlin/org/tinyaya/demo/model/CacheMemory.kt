package org.tinyaya.demo.model

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Bytes in, zeroed memory for caches out, all freed at once. */
interface CacheMemory : AutoCloseable {
    /** A direct buffer in the order of the processor. */
    fun allocate(bytes: Int): ByteBuffer
}

/** Direct buffers; on Android they lie in the Java heap, which is too small for the caches of a large model. */
class DirectMemory : CacheMemory {
    override fun allocate(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())

    override fun close() = Unit
}
