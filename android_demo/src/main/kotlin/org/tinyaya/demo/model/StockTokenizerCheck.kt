package org.tinyaya.demo.model

import org.tinyaya.demo.bundle.GoldenCase
import org.tinyaya.demo.bundle.JsonError
import org.tinyaya.demo.bundle.JsonReader
import org.tinyaya.demo.bundle.TokenizerError

/**
 * Golden texts in, a refusal out where the stock runner's tokenizer reads them otherwise.
 *
 * LlmModule shows no ids. But its statistics count the tokens of the prompt, and the ways in which stock
 * tokenizers go wrong change that count. So a text of every kind is fed, until [MOST_TOKENS].
 */
class StockTokenizerCheck(private val module: StockModule) {
    /** How many texts were compared. Throws [TokenizerError]. */
    fun run(cases: List<GoldenCase>): Int {
        var tokens = 0
        var compared = 0
        for (case in chosen(cases)) {
            if (tokens + case.ids.size > MOST_TOKENS) continue
            tokens += case.ids.size
            val counted = count(case.text, case.ids.size) ?: return compared
            if (counted != case.ids.size) {
                throw TokenizerError(
                    "ExecuTorch reads '${case.name}' as $counted tokens, the exporter as ${case.ids.size}: " +
                        "its tokenizer would misread prompts; export the bundle again",
                )
            }
            compared++
        }
        return compared
    }

    /** Cases of digits, spaces and marks first: those are where tokenizers differ. */
    private fun chosen(cases: List<GoldenCase>): List<GoldenCase> =
        cases.sortedWith(compareBy({ case -> if (' ' in case.name) 0 else 1 }, { case -> case.ids.size }))

    private fun count(text: String, expected: Int): Int? {
        var stats: String? = null
        module.reset()
        module.generate(text, expected + 1, { }, { stats = it })
        module.reset()
        return promptTokens(stats ?: return null)
    }

    private fun promptTokens(stats: String): Int? =
        try {
            val found = JsonReader(stats.toByteArray()).document() as? Map<*, *>
            (found?.get("prompt_tokens") as? Long)?.toInt()
        } catch (_: JsonError) {
            null // a release that words its statistics otherwise: nothing can be said
        }

    private companion object {
        const val MOST_TOKENS = 400
    }
}
