package org.tinyaya.demo.model

import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.OptionError
import org.tinyaya.demo.tokenizer.Tokenizer

/** A prompt in, an answer out, with the app's own tokenizer, sampler and session over an [Engine]. */
class OnnxLanguageModel(
    private val manifest: Manifest,
    private val tokenizer: Tokenizer,
    engine: Engine,
) : LanguageModel {
    private val session = Session(engine, manifest)
    private val stopIds = manifest.tokens.stop.toSet()

    @Volatile private var isStopped = false
    private var isClosed = false

    override val contextTokens: Int get() = manifest.limits.context

    override val hasOwnThreads: Boolean get() = true

    override fun countTokens(prompt: String): Int = tokenizer.encode(prompt, addBos = true).size

    override fun generate(prompt: String, options: GenerationOptions, listener: GenerationListener): Generation {
        if (options.maxTokens < 1) throw OptionError("max_tokens is ${options.maxTokens}; expected at least 1")
        isStopped = false
        return Answer(tokenizer.encode(prompt, addBos = true), options, listener).run()
    }

    override fun stop() {
        isStopped = true
    }

    override fun close() {
        if (isClosed) return
        isClosed = true
        session.close()
    }

    /** One answer under way. */
    private inner class Answer(
        private val promptIds: IntArray,
        private val options: GenerationOptions,
        private val listener: GenerationListener,
    ) {
        private val sampler = Sampler(options.sampling, options.seed)
        private val stream = tokenizer.stream()
        private val text = StringBuilder()
        private val started = System.nanoTime()
        private var tokens = 0
        private var steps = 0
        private var stepNanos = 0L
        private var firstTokenMs = 0.0

        fun run(): Generation {
            val logits = prefill()
            val prefillMs = sinceStartMs()
            val reason = if (logits == null) StopReason.STOPPED else decode(logits)
            emit(stream.flush())
            val seconds = stepNanos / 1e9
            return Generation(
                text.toString(), promptIds.size, tokens, reason, firstTokenMs, prefillMs,
                if (steps > 0) steps / seconds else 0.0,
            )
        }

        /** Null if the answer was stopped between two chunks. */
        private fun prefill(): FloatArray? =
            try {
                session.prefillFromStart(promptIds) { done ->
                    listener.onPrompt(done, promptIds.size)
                    if (isStopped) throw Stopped()
                }
            } catch (_: Stopped) {
                null
            }

        private fun decode(first: FloatArray): StopReason {
            var id = sampler.sample(first)
            firstTokenMs = sinceStartMs()
            while (options.ignoresStop || id !in stopIds) {
                tokens++
                emit(stream.add(id))
                if (isStopped) return StopReason.STOPPED
                if (tokens == options.maxTokens) return StopReason.MAX_TOKENS
                if (session.room == 0) return StopReason.CONTEXT
                listener.restMs().let { if (it > 0) Thread.sleep(it) }
                val before = System.nanoTime()
                id = sampler.sample(session.prefill(intArrayOf(id)))
                stepNanos += System.nanoTime() - before
                steps++
            }
            return StopReason.STOP_TOKEN
        }

        private fun emit(piece: String) {
            if (piece.isEmpty()) return
            text.append(piece)
            listener.onText(piece)
        }

        private fun sinceStartMs() = (System.nanoTime() - started) / 1e6
    }

    private class Stopped : RuntimeException()
}
