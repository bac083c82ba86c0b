package org.tinyaya.demo.bundle

/** What a phone has, as ActivityManager.MemoryInfo says. */
data class DeviceMemory(val availableBytes: Long, val thresholdBytes: Long, val totalBytes: Long)

/**
 * A manifest in, the memory that its program takes out.
 *
 * Weights count a tenth more than their file: engines pack them with sums and wider scales, and give the pages
 * of the file back (measured at full size: 1.09). Caches and 300 MB for the engine, the tokenizer
 * and activations come on top.
 */
object MemoryNeed {
    private const val PACKED_SHARE = 1.1
    private const val ENGINE_BYTES = 300L * 1000 * 1000

    /** Bytes of the program's files. */
    fun weightBytes(manifest: Manifest): Long =
        manifest.files.filterKeys { it.startsWith(manifest.program) }.values.sumOf { it.bytes }

    /** Bytes that loading and running takes. */
    fun of(manifest: Manifest): Long {
        val caches = manifest.cache.sumOf { it.positionBytes.toDouble() * it.slots }
        return (weightBytes(manifest) * PACKED_SHARE + caches).toLong() + ENGINE_BYTES
    }

    /** Refuses what would not fit, before anything is loaded. Throws [TooLargeError]. */
    fun check(manifest: Manifest, memory: DeviceMemory) {
        val needed = of(manifest)
        val available = memory.availableBytes - memory.thresholdBytes
        if (needed > available) {
            throw TooLargeError(
                "the bundle needs $needed bytes of memory, $available are free of ${memory.totalBytes}; " +
                    "close other apps, or export it with a smaller recipe or context",
                needed,
                available,
            )
        }
    }
}
