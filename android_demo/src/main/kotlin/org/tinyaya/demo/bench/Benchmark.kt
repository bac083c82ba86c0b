package org.tinyaya.demo.bench

import org.tinyaya.demo.bundle.SamplingDefaults
import org.tinyaya.demo.model.GenerationListener
import org.tinyaya.demo.model.GenerationOptions
import org.tinyaya.demo.model.Heat
import org.tinyaya.demo.model.LanguageModel
import java.util.Random

/** What the phone's sensors say at one moment; current in mA, below zero while it discharges. */
data class DeviceReading(
    val residentBytes: Long,
    val batteryCelsius: Double,
    val batteryMilliAmpere: Double,
    val batteryPercent: Int,
    val heat: Heat,
)

/** One measurement of one case. */
data class BenchSample(
    val case: BenchCase,
    val round: Int,
    val tokensPerSecond: Double,
    val firstTokenMs: Double,
    val before: DeviceReading,
    val after: DeviceReading,
)

/** Where a run is. */
data class BenchProgress(val done: Int, val total: Int, val isCooling: Boolean)

/**
 * A loaded model in, samples out: rounds of all cases, each round in an order of its own, so that heat and other
 * work of the phone fall on all of them.
 */
class Benchmark(
    private val model: LanguageModel,
    private val options: BenchOptions,
    private val read: () -> DeviceReading,
    private val rest: (Long) -> Unit,
) {
    @Volatile private var isStopped = false

    /** Ends the run after the case under way; what was measured is returned. */
    fun stop() {
        isStopped = true
        model.stop()
    }

    /** Blocks until all is measured. Throws RunError where the model does not run. */
    fun run(advance: (BenchProgress) -> Unit): List<BenchSample> {
        val chance = Random(options.seed)
        val samples = mutableListOf<BenchSample>()
        val total = options.cases.size * options.rounds
        repeat(options.rounds) { round ->
            for (case in options.cases.shuffled(chance)) {
                if (isStopped) return samples
                advance(BenchProgress(samples.size, total, isCooling = true))
                cool()
                if (isStopped) return samples
                advance(BenchProgress(samples.size, total, isCooling = false))
                samples += measure(case, round)
            }
        }
        advance(BenchProgress(total, total, isCooling = false))
        return if (isStopped) samples.dropLast(1) else samples
    }

    /** Rests, and goes on resting while the phone is hot, up to ten times as long. */
    private fun cool() {
        repeat(LONGEST_REST) { count ->
            if (count > 0 && read().heat < Heat.MODERATE || isStopped) return
            rest(options.coolDownSeconds * 1000L)
        }
    }

    /** A prompt that no earlier one begins with, so that nothing of it is in the caches. */
    private fun measure(case: BenchCase, round: Int): BenchSample {
        val before = read()
        val length = if (case.generatedTokens == 0) case.promptTokens else case.depthTokens
        val text = BenchText.ofTokens(maxOf(length, 1), "$round ${case.name} ", model::countTokens)
        val most = maxOf(case.generatedTokens + 1, 1)
        val found = model.generate(text, GenerationOptions(most, GREEDY, seed = 0, ignoresStop = true), SILENT)
        val prefill = found.promptTokens / (found.prefillMs / 1000)
        return BenchSample(
            case, round, if (case.generatedTokens == 0) prefill else found.decodeTokensPerSecond, found.firstTokenMs, before, read(),
        )
    }

    private companion object {
        const val LONGEST_REST = 10
        val GREEDY = SamplingDefaults(0.0, 0, 1.0)
        val SILENT =
            object : GenerationListener {
                override fun onPrompt(done: Int, total: Int) = Unit

                override fun onText(piece: String) = Unit

                override fun restMs(): Long = 0
            }
    }
}

/** A number of tokens in, a text of about as many out; what it says does not matter to speed. */
internal object BenchText {
    private const val WORDS = "one two three four five six seven eight nine ten "

    fun ofTokens(tokens: Int, start: String, count: (String) -> Int): String {
        val text = StringBuilder(start)
        while (count(text.toString()) < tokens) text.append(WORDS.repeat(maxOf(1, (tokens - count(text.toString())) / 20)))
        while (text.length > start.length && count(text.toString()) > tokens) text.setLength(text.length - 1)
        return text.toString()
    }
}
