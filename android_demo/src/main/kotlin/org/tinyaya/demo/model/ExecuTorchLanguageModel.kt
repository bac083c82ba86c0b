package org.tinyaya.demo.model

import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.OptionError
import org.tinyaya.demo.bundle.PromptTooLongError
import org.tinyaya.demo.tokenizer.Tokenizer

/** The few calls of ExecuTorch's LlmModule that the app makes; tests have one of their own. */
interface StockModule {
    /** Loads the program; blocks. Throws ProgramError. */
    fun load()

    /** Continues [prompt] up to [length] positions, prompt included; blocks. Throws ProgramError. */
    fun generate(prompt: String, length: Int, onText: (String) -> Unit, onStats: (String) -> Unit)

    /** Ends [generate] after its next token; from any thread. */
    fun stop()

    /** Forgets what was fed. */
    fun reset()

    /** Frees the program; exactly once, and never while it runs. */
    fun close()
}

/**
 * A prompt in, an answer out, on ExecuTorch's stock runner, which tokenizes and samples itself.
 *
 * The runner feeds the whole prompt for every answer: it cannot start from the preamble, and its
 * cache ends one token short of what it said. Its sampler knows the temperature alone.
 */
class ExecuTorchLanguageModel(
    private val manifest: Manifest,
    private val tokenizer: Tokenizer,
    private val module: StockModule,
) : LanguageModel {
    private val stopTexts = manifest.tokens.stop.map { tokenizer.tokenText(it) }.filter { it.isNotEmpty() }.toSet()

    @Volatile private var isStopped = false
    private var isClosed = false

    override val contextTokens: Int get() = manifest.limits.context

    override val hasOwnThreads: Boolean get() = false

    override fun countTokens(prompt: String): Int = tokenizer.encode(prompt, addBos = true).size

    override fun generate(prompt: String, options: GenerationOptions, listener: GenerationListener): Generation {
        check(!isClosed) { "the model is closed" }
        val promptTokens = countTokens(prompt)
        if (options.maxTokens < 1) throw OptionError("max_tokens is ${options.maxTokens}; expected at least 1")
        if (promptTokens >= contextTokens) {
            throw PromptTooLongError("$promptTokens tokens do not fit into a context of $contextTokens; shorten the prompt")
        }
        isStopped = false
        listener.onPrompt(0, promptTokens)
        val answer = Answer(listener)
        module.reset()
        val most = minOf(contextTokens, promptTokens + options.maxTokens)
        module.generate(prompt, most, answer::add) { }
        return answer.end(promptTokens, if (most == contextTokens) StopReason.CONTEXT else StopReason.MAX_TOKENS, most)
    }

    override fun stop() {
        isStopped = true
        module.stop()
    }

    override fun close() {
        if (isClosed) return
        isClosed = true
        module.close()
    }

    /** One answer under way; the runner also says the text of the stop token. */
    private inner class Answer(private val listener: GenerationListener) {
        private val text = StringBuilder()
        private val started = System.nanoTime()
        private var firstNanos = 0L
        private var lastNanos = 0L
        private var restNanos = 0L
        private var pieces = 0
        private var hasEnded = false

        fun add(piece: String) {
            if (hasEnded) return
            if (piece in stopTexts) {
                hasEnded = true
                module.stop()
                return
            }
            lastNanos = System.nanoTime()
            if (pieces++ == 0) firstNanos = lastNanos
            text.append(piece)
            listener.onText(piece)
            if (isStopped) module.stop()
            rest(listener.restMs())
        }

        private fun rest(ms: Long) {
            if (ms <= 0) return
            Thread.sleep(ms)
            restNanos += ms * 1_000_000
        }

        fun end(promptTokens: Int, atMost: StopReason, most: Int): Generation {
            val answer = text.toString()
            val tokens = tokenizer.encode(answer, addBos = false).size
            val seconds = (lastNanos - firstNanos - restNanos) / 1e9
            val firstMs = if (pieces > 0) (firstNanos - started) / 1e6 else (System.nanoTime() - started) / 1e6
            val reason =
                when {
                    isStopped -> StopReason.STOPPED
                    hasEnded || promptTokens + pieces < most -> StopReason.STOP_TOKEN
                    else -> atMost
                }
            return Generation(answer, promptTokens, tokens, reason, firstMs, firstMs, if (tokens > 1 && seconds > 0) (tokens - 1) / seconds else 0.0)
        }
    }
}
