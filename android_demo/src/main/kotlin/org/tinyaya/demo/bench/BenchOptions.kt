package org.tinyaya.demo.bench

import org.tinyaya.demo.bundle.OptionError

/** One thing to measure: reading [promptTokens], or writing [generatedTokens] after [depthTokens]. */
data class BenchCase(val promptTokens: Int, val generatedTokens: Int, val depthTokens: Int) {
    /** As the project's other benchmarks name it. */
    val name: String
        get() = if (generatedTokens == 0) "prompt $promptTokens" else "decode $generatedTokens at $depthTokens"
}

/** What a run measures; [coolDownSeconds] between two cases, longer while the phone is hot. */
data class BenchOptions(val cases: List<BenchCase>, val rounds: Int, val coolDownSeconds: Int, val seed: Long) {
    init {
        if (rounds !in 1..MOST_ROUNDS) throw OptionError("rounds is $rounds; expected 1 to $MOST_ROUNDS")
        if (coolDownSeconds !in 0..MOST_SECONDS) throw OptionError("cooldown is $coolDownSeconds; expected 0 to $MOST_SECONDS")
        if (cases.isEmpty()) throw OptionError("there is nothing to measure; expected prompts or depths")
    }

    companion object {
        const val MOST_ROUNDS = 50
        private const val MOST_SECONDS = 600
        private const val MOST_TOKENS = 1 shl 20

        /**
         * From an intent's texts, such as prompts "128,512", depths "128,2000"; cases that [context] has no
         * room for are left out. Throws OptionError.
         */
        fun parse(texts: Map<String, String?>, context: Int): BenchOptions {
            val decode = number(texts["decode"] ?: "64", "decode")
            val prompts = numbers(texts["prompts"] ?: "128,512", "prompts").map { BenchCase(it, 0, 0) }
            val depths = numbers(texts["depths"] ?: "128,2000", "depths").map { BenchCase(0, decode, it) }
            return BenchOptions(
                cases = (prompts + depths).filter { it.promptTokens + it.generatedTokens + it.depthTokens + 1 < context },
                rounds = number(texts["rounds"] ?: "5", "rounds"),
                coolDownSeconds = number(texts["cooldown"] ?: "10", "cooldown"),
                seed = number(texts["seed"] ?: "0", "seed").toLong(),
            )
        }

        private fun numbers(text: String, name: String) = text.split(',').filter { it.isNotBlank() }.map { number(it.trim(), name) }

        private fun number(text: String, name: String): Int =
            text.toIntOrNull()?.takeIf { it in 0..MOST_TOKENS }
                ?: throw OptionError("$name is '$text'; expected whole numbers from 0 to $MOST_TOKENS")
    }
}
