package org.tinyaya.demo.bench

import org.tinyaya.demo.bundle.JsonWriter
import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.MemoryNeed
import kotlin.math.sqrt

/** What a run was made on and with. */
data class BenchSetup(
    val bundle: String,
    val manifest: Manifest,
    val threads: Int,
    val loadMs: Double,
    val residentBeforeBytes: Long,
    val device: Map<String, Any?>,
)

/** Samples in, JSON in the columns of the project's other benchmarks out, with the phone's own beside them. */
object BenchReport {
    /** The report's text. */
    fun json(setup: BenchSetup, samples: List<BenchSample>): String =
        JsonWriter.write(
            mapOf(
                "format" to "tinyaya-android-bench",
                "format_version" to 1,
                "device" to setup.device,
                "rows" to samples.groupBy { it.case }.map { (case, of) -> row(setup, case, of) },
                "samples" to samples.map { sample(it) },
            ),
        )

    private fun row(setup: BenchSetup, case: BenchCase, samples: List<BenchSample>): Map<String, Any?> {
        val rates = samples.map { it.tokensPerSecond }
        val resident = median(samples.map { it.after.residentBytes.toDouble() })
        return mapOf(
            "model_filename" to setup.bundle,
            "engine" to setup.manifest.engine,
            "label" to "${setup.manifest.engine} ${setup.manifest.recipe["name"]}",
            "backends" to "CPU",
            "model_size" to MemoryNeed.weightBytes(setup.manifest),
            "model_n_params" to setup.manifest.model.parameters,
            "n_threads" to setup.threads,
            "n_prompt" to case.promptTokens,
            "n_gen" to case.generatedTokens,
            "n_depth" to case.depthTokens,
            "test" to case.name,
            "avg_ts" to rates.average(),
            "stddev_ts" to deviation(rates),
            "samples_ts" to rates,
            "n_samples" to rates.size,
            "median_ts" to median(rates),
            "q1_ts" to quantile(rates, 0.25),
            "q3_ts" to quantile(rates, 0.75),
            "ratio" to null,
            "load_ms" to setup.loadMs,
            "ttft_ms" to median(samples.map { it.firstTokenMs }),
            "imports_rss_bytes" to setup.residentBeforeBytes,
            "rss_bytes" to resident,
            "battery_celsius" to median(samples.map { it.after.batteryCelsius }),
            "battery_milliampere" to median(samples.map { it.after.batteryMilliAmpere }),
        )
    }

    private fun sample(sample: BenchSample) =
        mapOf(
            "test" to sample.case.name,
            "round" to sample.round,
            "ts" to sample.tokensPerSecond,
            "ttft_ms" to sample.firstTokenMs,
            "rss_bytes" to sample.after.residentBytes,
            "battery_celsius" to sample.after.batteryCelsius,
            "battery_celsius_before" to sample.before.batteryCelsius,
            "battery_milliampere" to sample.after.batteryMilliAmpere,
            "battery_percent" to sample.after.batteryPercent,
            "heat" to sample.after.heat.name.lowercase(java.util.Locale.ROOT),
        )

    /** The middle value, or the mean of the two. */
    fun median(values: List<Double>): Double = quantile(values, 0.5)

    /** Linear between samples, as NumPy has it. */
    fun quantile(values: List<Double>, share: Double): Double {
        val sorted = values.sorted()
        val place = share * (sorted.size - 1)
        val low = place.toInt()
        val high = minOf(low + 1, sorted.size - 1)
        return sorted[low] + (sorted[high] - sorted[low]) * (place - low)
    }

    private fun deviation(values: List<Double>): Double {
        if (values.size < 2) return 0.0
        val mean = values.average()
        return sqrt(values.sumOf { (it - mean) * (it - mean) } / (values.size - 1))
    }
}
