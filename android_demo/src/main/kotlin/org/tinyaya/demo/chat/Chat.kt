package org.tinyaya.demo.chat

import org.tinyaya.demo.bundle.Bundle
import org.tinyaya.demo.bundle.Languages
import org.tinyaya.demo.bundle.RunError
import org.tinyaya.demo.model.GenerationListener
import org.tinyaya.demo.model.GenerationOptions
import org.tinyaya.demo.model.Heat
import org.tinyaya.demo.model.LanguageModel
import org.tinyaya.demo.model.ModelLoader
import org.tinyaya.demo.model.ThreadPolicy
import org.tinyaya.demo.template.ChatTemplate
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.ExecutorService

/** What a chat works with; [worker] has one thread, on which the model lives. */
class ChatParts(
    val loader: ModelLoader,
    val worker: ExecutorService,
    val wording: Wording,
    val bigCores: Int,
    val keep: (ChatState) -> Unit,
)

/**
 * Events in, states out: [send] is the one way in, [listen] the one way out.
 *
 * The model is loaded, asked and closed on the worker alone, so it is never closed while it runs.
 */
class Chat(private val parts: ChatParts, restored: ChatState) {
    private class Loaded(val bundle: Bundle, val model: LanguageModel, val prompt: ChatPrompt, val threads: Int)

    private val listeners = CopyOnWriteArrayList<(ChatState) -> Unit>()

    @Volatile private var loaded: Loaded? = null

    @Volatile var state: ChatState = restored
        private set

    /** Calls [listener] with every state from now on, on whatever thread made it; the result ends that. */
    fun listen(listener: (ChatState) -> Unit): () -> Unit {
        listeners += listener
        return { listeners -= listener }
    }

    /** Takes an event; work that follows from it happens later, on the worker. */
    fun send(event: ChatEvent) {
        val before: ChatState
        val after: ChatState
        synchronized(this) {
            before = state
            after = ChatReducer.reduce(before, event)
            state = after
        }
        if (after == before) return
        listeners.forEach { it(after) }
        if (after.messages != before.messages && event !is ChatEvent.Said || after.settings != before.settings) parts.keep(after)
        val isAsked = event is ChatEvent.Asked || event is ChatEvent.RetryAsked
        if (isAsked && after.phase == Phase.READING) parts.worker.execute(::answer)
        if (after.phase == Phase.STOPPING || after.isBusy && after.heat == Heat.CRITICAL) loaded?.model?.stop()
    }

    /** Loads [bundle] in place of what is loaded. */
    fun open(bundle: Bundle) {
        send(ChatEvent.StopAsked)
        parts.worker.execute {
            attempt {
                close()
                send(ChatEvent.Opened(bundle.name, emptyList()))
                send(ChatEvent.Opened(bundle.name, Languages.of(bundle)))
                load(bundle)
                send(ChatEvent.Loaded(bundle.manifest.limits.context))
            }
        }
    }

    /** Ends the answer under way and frees the model. */
    fun unload(problem: Problem? = null) {
        send(ChatEvent.StopAsked)
        parts.worker.execute {
            if (loaded == null) return@execute
            close()
            send(ChatEvent.Unloaded(problem))
        }
    }

    private fun load(bundle: Bundle): Loaded {
        val template = bundle.chatTemplate()?.let { ChatTemplate(it, bundle.tokenizerConfig()) }
        val threads = ThreadPolicy.threads(parts.bigCores, state.heat)
        val model = parts.loader.load(bundle, threads)
        return Loaded(bundle, model, ChatPrompt(template, parts.wording, Languages::english), threads).also { loaded = it }
    }

    private fun close() {
        val closing = loaded ?: return
        loaded = null
        closing.model.close()
    }

    private fun answer() =
        attempt {
            val current = cooled(loaded ?: return@attempt)
            val asked = state
            val reserve = minOf(MOST_RESERVED, current.model.contextTokens / 4)
            val prompt = current.prompt.fit(asked.messages, asked.settings, current.model, reserve)
            val most = current.model.contextTokens - prompt.tokens
            val options = GenerationOptions(most, current.bundle.manifest.sampling, seed = System.nanoTime())
            if (state.phase == Phase.STOPPING) return@attempt send(ChatEvent.Unanswered)
            send(ChatEvent.Answered(current.model.generate(prompt.text, options, listener(prompt.unseenMessages))))
            if (state.heat == Heat.CRITICAL) send(ChatEvent.ProblemFound(Problem(ProblemKind.HOT, "")))
        }

    /** A hot phone gets fewer threads: the engine takes their number when it loads. */
    private fun cooled(current: Loaded): Loaded {
        val wanted = ThreadPolicy.threads(parts.bigCores, state.heat)
        if (current.threads <= wanted || !current.model.hasOwnThreads) return current
        close()
        return load(current.bundle)
    }

    private fun listener(unseen: Int) =
        object : GenerationListener {
            override fun onPrompt(done: Int, total: Int) = send(ChatEvent.PromptRead(done, total, unseen))

            override fun onText(piece: String) = send(ChatEvent.Said(piece))

            override fun restMs(): Long = ThreadPolicy.restMs(state.heat)
        }

    private fun attempt(work: () -> Unit) {
        try {
            work()
        } catch (error: RunError) {
            send(ChatEvent.Failed(error, hasModel = loaded != null))
        } catch (error: OutOfMemoryError) {
            close()
            send(ChatEvent.Unloaded(Problem(ProblemKind.MEMORY, error.message.orEmpty())))
        }
    }

    private companion object {
        const val MOST_RESERVED = 512
    }
}
