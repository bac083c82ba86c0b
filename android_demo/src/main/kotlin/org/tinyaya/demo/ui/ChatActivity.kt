package org.tinyaya.demo.ui

import android.app.Activity
import android.app.AlertDialog
import android.os.Bundle
import android.view.Menu
import android.view.MenuItem
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.CheckBox
import android.widget.EditText
import android.widget.ListView
import android.widget.ProgressBar
import android.widget.Spinner
import android.widget.TextView
import org.tinyaya.demo.R
import org.tinyaya.demo.bundle.Languages
import org.tinyaya.demo.bundle.RunError
import org.tinyaya.demo.chat.ChatEvent
import org.tinyaya.demo.chat.ChatState
import org.tinyaya.demo.chat.Phase
import java.io.File
import java.util.concurrent.atomic.AtomicBoolean
import org.tinyaya.demo.bundle.Bundle as ModelBundle

/** The conversation; shows states of the one [org.tinyaya.demo.chat.Chat] and sends it events. */
class ChatActivity : Activity() {
    private val words = Words(this)
    private val isDrawing = AtomicBoolean()
    private lateinit var demo: DemoApp
    private lateinit var rows: MessageRows
    private var shownLanguages: List<String>? = null
    private var endListening = { }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        demo = application as DemoApp
        setContentView(R.layout.chat)
        actionBar?.setDisplayHomeAsUpEnabled(true)
        rows = MessageRows(this, words)
        findViewById<ListView>(R.id.messages).adapter = rows
        findViewById<Button>(R.id.send).setOnClickListener { sendOrStop() }
        findViewById<TextView>(R.id.problem).setOnClickListener { demo.chat.send(ChatEvent.ProblemSeen) }
        findViewById<CheckBox>(R.id.translate).setOnClickListener { change { copy(isTranslation = (it as CheckBox).isChecked) } }
        findViewById<Spinner>(R.id.language).onItemSelectedListener = LanguageChoice()
        if (savedInstanceState == null) openBundle()
    }

    override fun onStart() {
        super.onStart()
        endListening = demo.chat.listen { drawSoon() }
        demo.chat.send(ChatEvent.HeatChanged(demo.device.heat))
        draw()
    }

    override fun onStop() {
        endListening()
        super.onStop()
    }

    override fun onCreateOptionsMenu(menu: Menu): Boolean {
        menuInflater.inflate(R.menu.chat, menu)
        return true
    }

    override fun onPrepareOptionsMenu(menu: Menu): Boolean {
        menu.findItem(R.id.retry).isEnabled = demo.chat.state.canRetry
        menu.findItem(R.id.clear).isEnabled = !demo.chat.state.isBusy
        return true
    }

    override fun onOptionsItemSelected(item: MenuItem): Boolean {
        when (item.itemId) {
            R.id.retry -> demo.chat.send(ChatEvent.RetryAsked)
            R.id.clear -> demo.chat.send(ChatEvent.Cleared)
            R.id.edit_system_prompt -> editSystemPrompt()
            else -> return super.onOptionsItemSelected(item)
        }
        return true
    }

    /** Loads what the intent names, unless it is loaded; after a crash the button has to be pressed. */
    private fun openBundle() {
        val folder = File(intent.getStringExtra(BUNDLE) ?: return)
        val isThere = demo.chat.state.bundle == folder.name && demo.chat.state.phase != Phase.NO_MODEL
        if (isThere || demo.guard.failed != null) return
        try {
            demo.chat.open(ModelBundle.open(folder, checkHashes = false))
        } catch (error: RunError) {
            demo.chat.send(ChatEvent.Failed(error, hasModel = false))
        }
    }

    private fun sendOrStop() {
        val state = demo.chat.state
        val draft = findViewById<EditText>(R.id.draft)
        when {
            state.isBusy -> demo.chat.send(ChatEvent.StopAsked)
            state.phase == Phase.NO_MODEL -> {
                demo.guard.clear()
                openBundle()
            }
            state.canAsk && draft.text.isNotBlank() -> {
                demo.chat.send(ChatEvent.Asked(draft.text.toString().take(MOST_CHARACTERS)))
                draft.setText("")
            }
        }
    }

    private fun change(edit: org.tinyaya.demo.chat.ChatSettings.() -> org.tinyaya.demo.chat.ChatSettings) {
        demo.chat.send(ChatEvent.SettingsChanged(demo.chat.state.settings.edit()))
    }

    private fun editSystemPrompt() {
        val view = layoutInflater.inflate(R.layout.system_prompt, null) as EditText
        view.setText(demo.chat.state.settings.systemPrompt)
        AlertDialog.Builder(this)
            .setTitle(R.string.system_prompt)
            .setView(view)
            .setNegativeButton(R.string.cancel, null)
            .setPositiveButton(R.string.ok) { _, _ -> change { copy(systemPrompt = view.text.toString()) } }
            .show()
    }

    /** States come faster than frames; the newest is drawn. */
    private fun drawSoon() {
        if (!isDrawing.compareAndSet(false, true)) return
        findViewById<View>(R.id.messages).postDelayed({
            isDrawing.set(false)
            if (!isDestroyed) draw()
        }, FRAME_MS)
    }

    private fun draw() {
        val state = demo.chat.state
        title = state.bundle ?: getString(R.string.app_name)
        findViewById<TextView>(R.id.phase).show(words.phase(state))
        findViewById<TextView>(R.id.heat).show(words.heat(state.heat))
        findViewById<TextView>(R.id.problem).show(state.problem?.let { words.problem(it) })
        findViewById<TextView>(R.id.unseen).show(if (state.unseenMessages > 0) words.unseen(state.unseenMessages) else null)
        findViewById<TextView>(R.id.meter_text).show(if (state.contextTokens > 0) words.meter(state) else null)
        findViewById<ProgressBar>(R.id.meter).progress = if (state.contextTokens > 0) state.usedTokens * 1000 / state.contextTokens else 0
        findViewById<EditText>(R.id.draft).setHint(if (state.settings.isTranslation) R.string.translate_hint else R.string.message_hint)
        findViewById<CheckBox>(R.id.translate).isChecked = state.settings.isTranslation
        drawButton(state)
        drawLanguages(state)
        rows.set(state.messages)
    }

    private fun drawButton(state: ChatState) {
        findViewById<Button>(R.id.send).apply {
            setText(
                when {
                    state.isBusy -> R.string.stop
                    state.phase == Phase.NO_MODEL -> R.string.load_model
                    else -> R.string.send
                },
            )
            isEnabled = state.phase != Phase.LOADING && state.phase != Phase.STOPPING
        }
    }

    private fun drawLanguages(state: ChatState) {
        val spinner = findViewById<Spinner>(R.id.language)
        if (state.languages != shownLanguages) {
            shownLanguages = state.languages
            val names = listOf(getString(R.string.language_any)) + state.languages.map { Languages.display(it, words.locale) }
            spinner.adapter = ArrayAdapter(this, android.R.layout.simple_spinner_dropdown_item, names)
        }
        val place = state.languages.indexOf(state.settings.language) + 1
        if (spinner.selectedItemPosition != place) spinner.setSelection(place)
    }

    private inner class LanguageChoice : AdapterView.OnItemSelectedListener {
        override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) {
            val languages = shownLanguages.orEmpty()
            if (languages.isNotEmpty()) change { copy(language = languages.getOrNull(position - 1)) }
        }

        override fun onNothingSelected(parent: AdapterView<*>?) = Unit
    }

    companion object {
        const val BUNDLE = "bundle"
        private const val FRAME_MS = 50L
        private const val MOST_CHARACTERS = 100_000
    }
}
