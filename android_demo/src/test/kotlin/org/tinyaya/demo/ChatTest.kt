package org.tinyaya.demo

import org.junit.After
import org.junit.Test
import org.tinyaya.demo.bundle.Bundle
import org.tinyaya.demo.bundle.DeviceMemory
import org.tinyaya.demo.bundle.LoadGuard
import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.PromptTooLongError
import org.tinyaya.demo.bundle.VersionError
import org.tinyaya.demo.chat.Chat
import org.tinyaya.demo.chat.ChatEvent
import org.tinyaya.demo.chat.ChatFile
import org.tinyaya.demo.chat.ChatMessage
import org.tinyaya.demo.chat.ChatParts
import org.tinyaya.demo.chat.ChatPrompt
import org.tinyaya.demo.chat.ChatReducer
import org.tinyaya.demo.chat.ChatSettings
import org.tinyaya.demo.chat.ChatState
import org.tinyaya.demo.chat.Phase
import org.tinyaya.demo.chat.ProblemKind
import org.tinyaya.demo.chat.Speaker
import org.tinyaya.demo.chat.Wording
import org.tinyaya.demo.model.DirectMemory
import org.tinyaya.demo.model.Heat
import org.tinyaya.demo.model.LoaderParts
import org.tinyaya.demo.model.ModelLoader
import org.tinyaya.demo.model.OnnxEngine
import org.tinyaya.demo.model.OnnxLanguageModel
import org.tinyaya.demo.model.StopReason
import org.tinyaya.demo.template.ChatTemplate
import org.tinyaya.demo.tokenizer.Tokenizer
import java.io.File
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class ChatTest {
    private val home = Truth.temporaryFolder()
    private val bundle = Truth.bundle("int4")
    private val worker = Executors.newSingleThreadExecutor()
    private val file = ChatFile(File(home, "chat.json"))
    private var free = 1L shl 40
    private val modules = mutableListOf<FakeModule>()
    private val wording = Wording({ "Answer in $it." }, { language, text -> "To $language: $text" })

    private fun chat(): Chat {
        val parts = LoaderParts(LoadGuard(File(home, "loading")), { DeviceMemory(free, 0, free) }, ::fake, { DirectMemory() })
        return Chat(ChatParts(ModelLoader(parts), worker, wording, bigCores = 1, keep = file::save), file.load())
    }

    private fun fake(bundle: Bundle) =
        FakeModule(List(5) { "x" }, Tokenizer.open(bundle.file(Manifest.TOKENIZER), 2)).also { modules += it }

    private fun settle() {
        worker.submit { }.get(120, TimeUnit.SECONDS)
    }

    @After fun tidy() {
        worker.shutdown()
        home.deleteRecursively()
    }

    @Test fun `a question is answered, kept, and asked again`() {
        val chat = chat()
        val phases = mutableListOf<Phase>()
        chat.listen { phases += it.phase }
        chat.open(bundle)
        settle()
        assertEquals(Phase.READY, chat.state.phase)
        assertTrue("sw" in chat.state.languages)
        chat.send(ChatEvent.Asked("Habari?"))
        settle()
        val answer = chat.state.messages.last()
        assertEquals(Speaker.MODEL, answer.speaker)
        assertTrue(answer.ended != null && answer.figures!!.tokensPerSecond > 0)
        assertTrue(phases.containsAll(listOf(Phase.LOADING, Phase.READING, Phase.ANSWERING, Phase.READY)), "$phases")
        chat.send(ChatEvent.RetryAsked)
        settle()
        assertEquals(listOf(Speaker.USER, Speaker.MODEL), chat.state.messages.map { it.speaker })
        assertEquals(chat.state.messages.map { it.text }, file.load().messages.map { it.text })
        chat.unload()
        settle()
        assertEquals(Phase.NO_MODEL, chat.state.phase)
    }

    @Test fun `an answer stops when told, when the phone is too hot, and is kept`() {
        val chat = chat()
        chat.open(bundle)
        settle()
        var said = 0
        chat.listen { if (it.phase == Phase.ANSWERING && ++said == 3) chat.send(ChatEvent.StopAsked) }
        chat.send(ChatEvent.Asked("a"))
        settle()
        assertTrue(chat.state.messages.last().ended in setOf(StopReason.STOPPED, StopReason.STOP_TOKEN))
        chat.send(ChatEvent.HeatChanged(Heat.CRITICAL))
        chat.send(ChatEvent.Asked("b"))
        settle()
        assertEquals(ProblemKind.HOT, chat.state.problem?.kind)
        assertEquals(Phase.READY, chat.state.phase)
    }

    @Test fun `what does not fit is refused in the state, and the chat goes on`() {
        val chat = chat()
        free = 1000
        chat.open(bundle)
        settle()
        assertEquals(Phase.NO_MODEL, chat.state.phase)
        assertEquals(ProblemKind.TOO_LARGE, chat.state.problem?.kind)
        free = 1L shl 40
        chat.open(bundle)
        settle()
        chat.send(ChatEvent.Asked("word ".repeat(2000)))
        settle()
        assertEquals(ProblemKind.TOO_LONG, chat.state.problem?.kind)
        assertEquals(Phase.READY, chat.state.phase)
    }

    @Test fun `LlmModule is closed once by whatever ends it`() {
        val chat = chat()
        val stock = Bundle(bundle.folder, bundle.manifest.copy(engine = "executorch"))
        chat.open(stock)
        settle()
        chat.send(ChatEvent.Asked("a"))
        chat.unload()
        chat.unload()
        chat.open(stock)
        settle()
        assertEquals(2, modules.size)
        assertEquals(listOf(1, 0), modules.map { module -> module.calls.count { it == "close" } })
    }

    @Test fun `prompts name the language, translations stand alone, the oldest messages go first`() {
        val tokenizer = Tokenizer.open(bundle.file(Manifest.TOKENIZER), bundle.manifest.tokens.bos)
        OnnxLanguageModel(bundle.manifest, tokenizer, OnnxEngine(bundle, 1, DirectMemory())).use { model ->
            val prompt = ChatPrompt(ChatTemplate(bundle.chatTemplate()!!, bundle.tokenizerConfig()), wording) { "Swahili" }
            val talk = (1..40).flatMap { listOf(ChatMessage(Speaker.USER, "question $it"), ChatMessage(Speaker.MODEL, "answer $it")) }
            val messages = talk + ChatMessage(Speaker.USER, "last")
            val fitted = prompt.fit(messages, ChatSettings("Be brief.", "sw"), model, reserve = 100)
            assertTrue("Be brief.\nAnswer in Swahili." in fitted.text)
            assertTrue(fitted.text.contains("last") && fitted.tokens <= 412)
            assertTrue(fitted.unseenMessages > 0 && fitted.unseenMessages % 2 == 0 && "question 1<" !in fitted.text)
            val translated = prompt.fit(messages, ChatSettings("", "sw", isTranslation = true), model, reserve = 100)
            assertTrue("To Swahili: last" in translated.text && "answer 40" !in translated.text)
            val plain = prompt.fit(messages.takeLast(1), ChatSettings(), model, reserve = 100)
            val preamble = bundle.manifest.preamble!!.ids
            assertEquals(preamble, tokenizer.encode(plain.text, addBos = true).take(preamble.size))
            val long = listOf(ChatMessage(Speaker.USER, "word ".repeat(2000)))
            assertFailsWith<PromptTooLongError> { prompt.fit(long, ChatSettings(), model, reserve = 100) }
        }
    }

    @Test fun `no event is lost on a broken state, and none begins work while the model is busy`() {
        val ready = ChatState(phase = Phase.READY, languages = listOf("sw"))
        val busy = ChatReducer.reduce(ready, ChatEvent.Asked("a"))
        assertEquals(Phase.READING, busy.phase)
        assertEquals(busy, ChatReducer.reduce(busy, ChatEvent.Asked("b")))
        assertEquals(busy, ChatReducer.reduce(busy, ChatEvent.RetryAsked))
        assertEquals(busy, ChatReducer.reduce(busy, ChatEvent.Cleared))
        val half = ChatReducer.reduce(busy, ChatEvent.Said("x"))
        val broken = ChatReducer.reduce(half, ChatEvent.Failed(VersionError("old"), hasModel = true))
        assertEquals(StopReason.STOPPED, broken.messages.last().ended)
        assertEquals(ProblemKind.VERSION, broken.problem?.kind)
        assertEquals(ready, ChatReducer.reduce(ready, ChatEvent.Said("late")))
        assertEquals(ready, ChatReducer.reduce(ready, ChatEvent.StopAsked))
        val unknown = ChatReducer.reduce(ready, ChatEvent.SettingsChanged(ChatSettings(language = "xx")))
        assertEquals(null, unknown.settings.language)
    }

    @Test fun `a conversation survives the process, and a broken file is an empty conversation`() {
        val state = ChatState(
            bundle = "aya",
            messages = listOf(ChatMessage(Speaker.USER, "\u0628\n\"x\""), ChatMessage(Speaker.MODEL, "\ud83d\ude00", StopReason.STOP_TOKEN)),
            settings = ChatSettings("s", "sw", true),
        )
        file.save(state)
        assertEquals(state, file.load())
        File(home, "chat.json").writeText("{")
        assertEquals(ChatState(), file.load())
        File(home, "chat.json").writeText("[1]")
        assertEquals(ChatState(), file.load())
    }
}
