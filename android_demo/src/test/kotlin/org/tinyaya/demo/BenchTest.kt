package org.tinyaya.demo

import org.junit.Test
import org.tinyaya.demo.bench.BenchCase
import org.tinyaya.demo.bench.BenchOptions
import org.tinyaya.demo.bench.BenchReport
import org.tinyaya.demo.bench.BenchSetup
import org.tinyaya.demo.bench.Benchmark
import org.tinyaya.demo.bench.DeviceReading
import org.tinyaya.demo.bundle.JsonReader
import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.OptionError
import org.tinyaya.demo.model.DirectMemory
import org.tinyaya.demo.model.Heat
import org.tinyaya.demo.model.OnnxEngine
import org.tinyaya.demo.model.OnnxLanguageModel
import org.tinyaya.demo.tokenizer.Tokenizer
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class BenchTest {
    private val bundle = Truth.bundle("int4")
    private val cool = DeviceReading(1000, 30.0, -500.0, 80, Heat.NONE)

    private fun model(): OnnxLanguageModel {
        val tokenizer = Tokenizer.open(bundle.file(Manifest.TOKENIZER), bundle.manifest.tokens.bos)
        return OnnxLanguageModel(bundle.manifest, tokenizer, OnnxEngine(bundle, 1, DirectMemory()))
    }

    @Test fun `rounds measure every case in changing order, and the report has the columns of the others`() {
        val options = BenchOptions.parse(mapOf("prompts" to "32,64", "depths" to "16,5000", "decode" to "8", "rounds" to "4", "cooldown" to "1"), 512)
        assertEquals(listOf("prompt 32", "prompt 64", "decode 8 at 16"), options.cases.map { it.name })
        var rests = 0
        model().use { model ->
            val samples = Benchmark(model, options, { cool }, { rests++ }).run { }
            assertEquals(12, samples.size)
            assertEquals(12, rests)
            assertTrue(samples.chunked(3).map { round -> round.map { it.case } }.distinct().size > 1, "always the same order")
            assertTrue(samples.all { it.tokensPerSecond > 0 && it.firstTokenMs > 0 })
            val setup = BenchSetup("aya", bundle.manifest, 1, 10.0, 500, mapOf("model" to "x"))
            val report = JsonReader(BenchReport.json(setup, samples).toByteArray()).document().map()
            val row = report["rows"].list().first().map()
            val columns = "model_filename engine label n_threads n_prompt n_gen n_depth test avg_ts samples_ts median_ts ttft_ms rss_bytes"
            assertTrue(row.keys.containsAll(columns.split(" ")))
            assertEquals(4L, row["n_samples"])
        }
    }

    @Test fun `a hot phone rests longer, but not for ever`() {
        var rests = 0
        val options = BenchOptions(listOf(BenchCase(8, 0, 0)), rounds = 1, coolDownSeconds = 1, seed = 0)
        model().use { model -> Benchmark(model, options, { cool.copy(heat = Heat.SEVERE) }, { rests++ }).run { } }
        assertEquals(10, rests)
    }

    @Test fun `intents that mean nothing are refused by name`() {
        for ((key, bad) in listOf("prompts" to "x", "rounds" to "0", "rounds" to "99999999999", "depths" to "-1", "cooldown" to "9999")) {
            assertFailsWith<OptionError>("$key $bad") { BenchOptions.parse(mapOf(key to bad), 512) }
        }
        assertFailsWith<OptionError> { BenchOptions.parse(mapOf("prompts" to "600", "depths" to "600"), 512) }
    }

    @Test fun `quantiles are NumPy's`() {
        val values = listOf(4.0, 1.0, 3.0, 2.0)
        assertEquals(listOf(1.75, 2.5, 3.25), listOf(0.25, 0.5, 0.75).map { BenchReport.quantile(values, it) })
    }
}
