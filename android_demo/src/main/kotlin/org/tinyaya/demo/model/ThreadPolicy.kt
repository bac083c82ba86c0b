package org.tinyaya.demo.model

/** How hot the phone is, in the steps of PowerManager's thermal status. */
enum class Heat {
    NONE, LIGHT, MODERATE, SEVERE, CRITICAL;

    companion object {
        /** From PowerManager's number; EMERGENCY and SHUTDOWN are critical. */
        fun of(status: Int): Heat = entries[status.coerceIn(0, entries.size - 1)]
    }
}

/** Big cores and heat in, threads and rests out. */
object ThreadPolicy {
    private const val BIG_SHARE = 0.8
    private const val MOST_THREADS = 6

    /**
     * Threads for arithmetic: one a big core, fewer when hot. Small cores would hold the others up,
     * because a product waits for its slowest part.
     */
    fun threads(bigCores: Int, heat: Heat): Int =
        when {
            heat >= Heat.SEVERE -> bigCores / 4
            heat >= Heat.MODERATE -> bigCores / 2
            else -> bigCores
        }.coerceIn(1, MOST_THREADS)

    /** Rest between two tokens, in ms, for engines whose threads cannot be changed while they are loaded. */
    fun restMs(heat: Heat): Long =
        when {
            heat >= Heat.SEVERE -> 150
            heat >= Heat.MODERATE -> 40
            else -> 0
        }

    /**
     * Cores of the fast clusters: all above [BIG_SHARE] of the fastest, or, where those are
     * fewer than two, all that are not of the slowest cluster.
     */
    fun bigCores(maxFrequencies: List<Long>): Int {
        val fastest = maxFrequencies.maxOrNull() ?: return 1
        val slowest = maxFrequencies.min()
        val near = maxFrequencies.count { it >= fastest * BIG_SHARE }
        return if (near >= 2 || fastest == slowest) near else maxFrequencies.count { it > slowest }
    }
}
