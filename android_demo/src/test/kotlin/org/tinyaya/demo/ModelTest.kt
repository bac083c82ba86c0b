package org.tinyaya.demo

import org.junit.Test
import org.tinyaya.demo.bundle.Bundle
import org.tinyaya.demo.bundle.DeviceMemory
import org.tinyaya.demo.bundle.GoldenCase
import org.tinyaya.demo.bundle.LoadGuard
import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.PromptTooLongError
import org.tinyaya.demo.bundle.SamplingDefaults
import org.tinyaya.demo.bundle.SamplingError
import org.tinyaya.demo.bundle.TokenizerError
import org.tinyaya.demo.bundle.TooLargeError
import org.tinyaya.demo.model.DirectMemory
import org.tinyaya.demo.model.ExecuTorchLanguageModel
import org.tinyaya.demo.model.GenerationListener
import org.tinyaya.demo.model.GenerationOptions
import org.tinyaya.demo.model.Heat
import org.tinyaya.demo.model.LoaderParts
import org.tinyaya.demo.model.ModelLoader
import org.tinyaya.demo.model.Sampler
import org.tinyaya.demo.model.StockModule
import org.tinyaya.demo.model.StockTokenizerCheck
import org.tinyaya.demo.model.StopReason
import org.tinyaya.demo.model.ThreadPolicy
import org.tinyaya.demo.tokenizer.Tokenizer
import java.io.File
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** LlmModule as far as the app sees it. */
class FakeModule(private val pieces: List<String>, private val tokenizer: Tokenizer? = null, private val lost: Int = 0) : StockModule {
    val calls = mutableListOf<String>()

    @Volatile private var isStopped = false

    override fun load() {
        calls += "load"
    }

    override fun generate(prompt: String, length: Int, onText: (String) -> Unit, onStats: (String) -> Unit) {
        calls += "generate $length"
        isStopped = false
        for (piece in pieces) if (!isStopped) onText(piece)
        val tokens = tokenizer?.encode(prompt, addBos = false)?.size ?: 0
        onStats("{\"prompt_tokens\":${tokens - lost},\"generated_tokens\":1}")
    }

    override fun stop() {
        isStopped = true
    }

    override fun reset() {
        calls += "reset"
    }

    override fun close() {
        calls += "close"
    }
}

class ModelTest {
    private val bundle = Truth.bundle("fp32")
    private val tokenizer = Tokenizer.open(bundle.file(Manifest.TOKENIZER), bundle.manifest.tokens.bos)
    private val options = GenerationOptions(20, SamplingDefaults(0.0, 0, 1.0), 0)

    private fun listener(onText: (String) -> Unit = { }) =
        object : GenerationListener {
            override fun onPrompt(done: Int, total: Int) = Unit

            override fun onText(piece: String) = onText(piece)

            override fun restMs(): Long = 0
        }

    @Test fun `LlmModule is fed the whole prompt, its stop token is not said, and it is closed once`() {
        val module = FakeModule(listOf("Hab", "ari", "<|END_RESPONSE|>", "never"))
        val model = ExecuTorchLanguageModel(bundle.manifest, tokenizer, module)
        val said = StringBuilder()
        val found = model.generate("abc", options, listener { said.append(it) })
        assertEquals("Habari", found.text)
        assertEquals("Habari", said.toString())
        assertEquals(StopReason.STOP_TOKEN, found.stopReason)
        val length = tokenizer.encode("abc", addBos = true).size + 20
        assertEquals(listOf("reset", "generate $length"), module.calls)
        model.close()
        model.close()
        assertEquals(1, module.calls.count { it == "close" })
    }

    @Test fun `LlmModule stops when told, and refuses what does not fit`() {
        val module = FakeModule(List(10) { "x" })
        val model = ExecuTorchLanguageModel(bundle.manifest, tokenizer, module)
        var pieces = 0
        val found = model.generate("abc", options, listener { if (++pieces == 3) model.stop() })
        assertEquals("xxx", found.text)
        assertEquals(StopReason.STOPPED, found.stopReason)
        assertFailsWith<PromptTooLongError> { model.generate("a b ".repeat(600), options, listener()) }
    }

    @Test fun `a stock tokenizer that loses text is found by its counts`() {
        val cases = bundle.goldenTokens()
        assertTrue(StockTokenizerCheck(FakeModule(emptyList(), tokenizer)).run(cases) >= 8)
        assertFailsWith<TokenizerError> { StockTokenizerCheck(FakeModule(emptyList(), tokenizer, lost = 1)).run(cases) }
        assertFailsWith<TokenizerError> { tokenizer.check(listOf(GoldenCase("other", "abc", listOf(1)))) }
    }

    @Test fun `the loader refuses what does not fit, and marks every load`() {
        val home = Truth.temporaryFolder()
        val guard = LoadGuard(File(home, "loading"))
        var free = 1L shl 40
        val module = FakeModule(emptyList(), tokenizer, lost = 1)
        val parts = LoaderParts(guard, { DeviceMemory(free, 0, free) }, { module }, { DirectMemory() })
        val loader = ModelLoader(parts)
        loader.load(bundle, threads = 1).use { assertTrue(it.generate("a", options, listener()).promptTokens == 2) }
        free = 1000
        assertFailsWith<TooLargeError> { loader.load(bundle, threads = 1) }
        free = 1L shl 40
        val stock = Bundle(bundle.folder, bundle.manifest.copy(engine = "executorch"))
        assertFailsWith<TokenizerError> { loader.load(stock, threads = 1) }
        assertEquals("close", module.calls.last())
        val other = Bundle(bundle.folder, bundle.manifest.copy(engine = "abacus"))
        assertTrue("abacus" in assertFailsWith<org.tinyaya.demo.bundle.ManifestError> { loader.load(other, 1) }.message!!)
        assertEquals(null, guard.failed)
        home.deleteRecursively()
    }

    @Test fun `samplers draw from the kept ids alone, and the same with the same seed`() {
        val logits = FloatArray(100) { if (it == 50) Float.NEGATIVE_INFINITY else -it.toFloat() / 10 }
        val sampler = Sampler(SamplingDefaults(1.0, 5, 1.0), 1)
        val drawn = List(300) { sampler.sample(logits) }
        assertEquals(setOf(0, 1, 2, 3, 4), drawn.toSet())
        val again = Sampler(SamplingDefaults(1.0, 5, 1.0), 1)
        assertEquals(drawn, List(300) { again.sample(logits) })
        val nucleus = Sampler(SamplingDefaults(1.0, 0, 0.1), 1)
        assertTrue(List(300) { nucleus.sample(logits) }.all { it <= 1 })
        assertEquals(0, Sampler(SamplingDefaults(0.0, 0, 1.0), 0).sample(FloatArray(4)))
        val cold = Sampler(SamplingDefaults(1e-300, 0, 1.0), 0)
        assertEquals(0, cold.sample(logits))
        assertFailsWith<SamplingError> { sampler.sample(FloatArray(3) { Float.NaN }) }
        assertFailsWith<SamplingError> { sampler.sample(FloatArray(3) { Float.NEGATIVE_INFINITY }) }
        assertFailsWith<SamplingError> { Sampler(SamplingDefaults(-1.0, 0, 1.0), 0) }
    }

    @Test fun `threads are those of the big cores, fewer when hot`() {
        val phone = List(4) { 1_800_000L } + List(3) { 2_400_000L } + 2_800_000L
        assertEquals(4, ThreadPolicy.bigCores(phone))
        assertEquals(4, ThreadPolicy.bigCores(List(4) { 1_800_000L } + List(3) { 2_100_000L } + 3_200_000L))
        assertEquals(8, ThreadPolicy.bigCores(List(8) { 2_000_000L }))
        assertEquals(1, ThreadPolicy.bigCores(emptyList()))
        assertEquals(listOf(4, 4, 2, 1, 1), Heat.entries.map { ThreadPolicy.threads(4, it) })
        assertTrue(ThreadPolicy.restMs(Heat.SEVERE) > ThreadPolicy.restMs(Heat.MODERATE))
        assertEquals(Heat.CRITICAL, Heat.of(6))
    }
}
